"""Renders the page of a study, and prints its table."""

from rich.table import Table

from tagsdc_jax.reporting import tables
from tagsdc_jax.reporting.page import charts, rendering
from tagsdc_jax.reporting.page.study_content import Cell, Interval, Row, Study

_WIDTH = 150


def render(study: Study) -> str:
  """Returns the page as self-contained HTML."""
  numbers = numbers_of(study)
  compared = [row for row in study.rows if row.reference]
  return (
    rendering.environment()
    .get_template('study.html')
    .render(
      study=study,
      title=study.title,
      lead=lead(study),
      numbers=numbers,
      main=_main(numbers),
      charts=[(number, _chart(study, number)) for number in _main(numbers)],
      changes=compared,
      value=show,
      change=show_change,
      flop=show_flop,
    )
  )


def numbers_of(study: Study) -> list[str]:
  """Returns the names of the numbers, in the order in which they were found."""
  return list(
    dict.fromkeys(number for row in study.rows for number in row.cells)
  )


def lead(study: Study) -> str:
  """Returns what the comparisons say, made from the numbers."""
  said = []
  for number in _main(numbers_of(study)):
    better, worse = (
      [
        row.label
        for row in study.rows
        if number in row.cells
        and row.cells[number].is_clear
        and (row.cells[number].change or (0.0,))[0] * sign > 0
      ]
      for sign in (1, -1)
    )
    for word, labels in (('better', better), ('worse', worse)):
      if labels:
        said.append(
          f'{number} is clearly {word} than of what it is compared with for: '
          f'{"; ".join(labels)}.'
        )
  if not any(row.reference for row in study.rows):
    return 'Nothing is compared.'
  return ' '.join(said) or (
    'No arm differs clearly from what it is compared with: all intervals '
    'include zero.'
  )


def show(cell: Cell) -> str:
  """Returns a mean with its interval."""
  mean, low, high = cell.value
  return f'{mean:.1f} ({low:.1f} to {high:.1f})'


def show_change(interval: Interval) -> str:
  """Returns a difference with its interval."""
  mean, low, high = interval
  return f'{mean:+.1f} ({low:+.1f} to {high:+.1f})'


def show_flop(row: Row) -> str:
  """Returns the FLOP of an arm's last phase."""
  return f'{row.flop / 1e3:,.1f}' if row.flop else ''


def print_table(study: Study) -> None:
  """Prints the arms with means, and differences from what they compare with."""
  main = _main(numbers_of(study))
  table = Table(title=f'{study.title}, percent, {study.num_seeds} seeds')
  table.add_column('', no_wrap=True)
  for number in main:
    table.add_column(number, justify='right')
    table.add_column('change', justify='right')
  for row in study.rows:
    cells = []
    for number in main:
      cell = row.cells[number]
      cells += [
        f'{cell.value[0]:.1f}',
        '' if cell.change is None else show_change(cell.change),
      ]
    table.add_row(row.label, *cells)
  tables.print_table(table, _WIDTH)


def _main(numbers: list[str]) -> list[str]:
  """Returns the numbers that are no parts of others."""
  return [number for number in numbers if ': ' not in number]


def _chart(study: Study, number: str) -> str:
  """Returns a drawing of the arms' intervals."""
  rows = [row for row in study.rows if number in row.cells]
  return charts.interval_rows(
    [row.label for row in rows],
    {'tags': [row.cells[number].value for row in rows]},
    rows[0].cells[number].value[0],
    f'{number} of every arm with 95 % intervals, percent',
  )
