"""Renders the page of a study, and prints its table."""

from rich import markup
from rich.table import Table

from tagsdc_jax.reporting import tables
from tagsdc_jax.reporting.page import charts, rendering, study_figures
from tagsdc_jax.reporting.page.study_content import (
  Cell,
  Interval,
  Row,
  Study,
  is_percent,
)

_WIDTH = 150


def render(study: Study) -> str:
  """Returns the page as self-contained HTML.

  Raises:
    ValueError: if a figure has more labels than there are colors.
  """
  numbers = numbers_of(study)
  shown = shown_of(study)
  page = (
    rendering.environment()
    .get_template('study.html')
    .render(
      study=study,
      title=study.title,
      lead=lead(study),
      numbers=numbers,
      shown=shown,
      charts=[(number, _chart(study, number)) for number in shown],
      figures=study_figures.draw(study.figures),
      examples=study.examples,
      changes=[row for row in study.rows if row.reference],
      units=_units(numbers),
      over=_over(study),
      is_percent=is_percent,
      marked=_marked(study),
      value=show,
      change=show_change,
      flop=show_flop,
    )
  )
  return page.rstrip() + '\n'


def numbers_of(study: Study) -> list[str]:
  """Returns the names of the numbers, in the order in which they were found."""
  return list(
    dict.fromkeys(number for row in study.rows for number in row.cells)
  )


def shown_of(study: Study) -> list[str]:
  """Returns the numbers that are compared and drawn with their intervals."""
  numbers = numbers_of(study)
  if study.shown:
    return [number for number in study.shown if number in numbers]
  return [number for number in numbers if ': ' not in number]


def lead(study: Study) -> list[str]:
  """Returns what the comparisons with the references say, in sentences."""
  if not any(row.reference for row in study.rows):
    return []
  said, count = [], 0
  for number in shown_of(study):
    count += sum(
      number in row.cells and row.cells[number].change is not None
      for row in study.rows
    )
    # Not better and worse: of some numbers, less is better.
    for word, sign in (('higher', 1), ('lower', -1)):
      labels = [
        row.label
        for row in study.rows
        if number in row.cells
        and row.cells[number].is_clear
        and (row.cells[number].change or (0.0,))[0] * sign > 0
      ]
      if labels:
        said.append(
          f'{number[0].upper()}{number[1:]}: clearly {word} for '
          f'{"; ".join(labels)}.'
        )
  if not said:
    return ['No clear difference: all intervals include zero.']
  return [
    *said,
    f'Of {count} such intervals, one in twenty leaves out zero by mere chance.',
  ]


def show(number: str, cell: Cell | None) -> str:
  """Returns a mean with its interval; empty if it is unknown.

  Args:
    number: its name, which says the unit.
    cell: the value.
  """
  if cell is None:
    return ''
  mean, low, high = (f'{x:.{_decimals(number)}f}' for x in cell.value)
  return f'{mean} ({low} to {high})'


def show_change(number: str, interval: Interval | None) -> str:
  """Returns a difference with its interval; empty if it is unknown.

  Args:
    number: name of what differs, which says the unit.
    interval: the difference.
  """
  if interval is None:
    return ''
  mean, low, high = (f'{x:+.{_decimals(number)}f}' for x in interval)
  return f'{mean} ({low} to {high})'


def show_flop(row: Row) -> str:
  """Returns the FLOP of an arm's last phase."""
  return f'{row.flop / 1e12:,.1f}' if row.flop else ''


def print_table(study: Study) -> None:
  """Prints every arm's numbers, and differences from what they compare with."""
  shown = shown_of(study)
  is_compared = any(row.reference for row in study.rows)
  table = Table(
    title=f'{study.title}, {_units(shown)}, {study.num_seeds} '
    + ('seed' if study.num_seeds == 1 else 'seeds')
  )
  table.add_column('')
  table.add_column('mean, 95 % interval', justify='right')
  if is_compared:
    table.add_column('difference', justify='right')
    table.add_column('from')
  for number in shown:
    table.add_row(f'[bold]{markup.escape(number)}[/]')
    for row in study.rows:
      cell = row.cells.get(number)
      if cell is None:
        continue
      cells = [markup.escape(row.label), show(number, cell)]
      if is_compared and cell.change is not None:
        cells += [
          show_change(number, cell.change),
          markup.escape(row.reference),
        ]
      table.add_row(*cells)
    table.add_section()
  tables.print_table(table, _WIDTH)


def _decimals(number: str) -> int:
  return 1 if is_percent(number) else 2


def _units(numbers: list[str]) -> str:
  """Returns what numbers are in, together."""
  if all(map(is_percent, numbers)):
    return 'percent'
  if any(map(is_percent, numbers)):
    return 'percent, but means in their own units'
  return 'means in their own units'


def _over(study: Study) -> str:
  """Returns what values are means of, and what their intervals are."""
  if study.num_seeds == 1:
    return (
      'one seed, with 95 % intervals of a bootstrap over test pictures, which '
      'do not include the differences between seeds'
    )
  return (
    f'mean over {study.num_seeds} seeds, with 95 % intervals of a bootstrap '
    'over seeds and test pictures'
  )


def _marked(study: Study) -> str:
  """Returns the label of the arm that charts mark with a dashed line."""
  references = {row.reference for row in study.rows if row.reference}
  return references.pop() if len(references) == 1 else study.rows[0].label


def _chart(study: Study, number: str) -> str:
  """Returns a drawing of the arms' intervals."""
  found = {
    row.label: row.cells[number].value
    for row in study.rows
    if number in row.cells
  }
  unit = ', percent' if is_percent(number) else ''
  decimals = _decimals(number)
  return charts.interval_rows(
    list(found),
    {'tags': list(found.values())},
    found.get(_marked(study), next(iter(found.values())))[0],
    f'{number} of every arm with 95 % intervals{unit}. '
    + ', '.join(f'{label} {x[0]:.{decimals}f}' for label, x in found.items()),
    is_percent(number),
  )
