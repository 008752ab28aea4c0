"""Prints the results of foil files in the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import markup
from rich.table import Table
from rich.text import Text

from tagsdc_jax.reporting import tables

MISSING = '–'
_BAR = 20
_WIDTH = 150
# Kinds that are shown; files may have hundreds.
_MOST = 60

Row = Mapping[str, Any]


def print_results(results: Mapping[str, Any]) -> None:
  """Prints a table per benchmark.

  Args:
    results: from `runs.foils.evaluate`.
  """
  for one in results['benchmarks']:
    if one['all'] is not None:
      tables.print_table(_table(one), _WIDTH)
    if one['tasks'] is not None:
      tables.print_table(_tasks(one['tasks']), _WIDTH)
    if one['splits']:
      print(f'{one["family"]}: {pictures(one)}')


# Columns beside the accuracy: heading, and where a row has the number.
_COLUMNS = {
  'text': ('text', ('text', 'accuracy')),
  'image': ('image', ('image', 'accuracy')),
  'pairs': ('by pair', ('pairs', 'accuracy')),
  'details': ('finer kinds', ('details', 'accuracy')),
  'at_half': ('both at ½', ('at_half', 'accuracy')),
  'same_words': ('same words', ('same_words', 'accuracy')),
  'unseen': ('new pictures', ('unseen', 'accuracy')),
  'words': ('blind: words', ('blind', 'words')),
  'fluency': ('blind: head', ('blind', 'fluency')),
}
# Of part of the items, whose number is shown.
_PARTS = ('same_words', 'unseen')


def columns(one: Mapping[str, Any]) -> dict[str, str]:
  """Returns the headings of the columns that a benchmark has, by name.

  New pictures are left out if all are new, or none is; see `news`.
  """
  rows = [*one['kinds'].values(), one['all']]
  return {
    name: heading
    for name, (heading, path) in _COLUMNS.items()
    if any(value_of(row, *path) is not None for row in rows)
    and not (name == 'unseen' and news(one))
  }


def news(one: Mapping[str, Any]) -> str:
  """Returns whether all pictures, or none, are outside the training split.

  Returns '' if some are, or if it is unknown.
  """
  row = one['all']
  unseen = row['unseen'] if row else None
  if unseen is None or 0 < unseen['count'] < row['count']:
    return ''
  return (
    'all pictures are outside the training split'
    if unseen['count']
    else 'all pictures are of the training split'
  )


def cell(row: Row, name: str) -> str:
  """Returns a number of a row; of a part of the items, with its size."""
  value = value_of(row, *_COLUMNS[name][1])
  if value is None or name not in _PARTS:
    return number(value)
  return f'{number(value)} ({row[name]["count"]:,})'


def number(value: float | None) -> str:
  """Returns a number with one decimal, or a dash for None."""
  return MISSING if value is None else f'{value:.1f}'


def value_of(row: Row, *path: str) -> Any:
  """Returns row[path[0]][path[1]]..., None if there is none."""
  found: Any = row
  for key in path:
    found = found.get(key) if isinstance(found, Mapping) else None
  return found


def headline(one: Mapping[str, Any]) -> str:
  """Returns what right means in a benchmark."""
  row = one['all']
  if 'text' in row:
    return (
      'group score: each picture prefers its caption, and each caption its '
      'picture'
    )
  if 'pairs' in row:
    return 'every caption above every foil of its item'
  return 'caption above foil'


def _table(one: Mapping[str, Any]) -> Table:
  whole, shown = one['all'], columns(one)
  has_ties = bool(whole['ties'])
  table = Table(title=f'{markup.escape(one["family"])}: {headline(one)}')
  table.add_column('', no_wrap=True)
  for name in ('items', '', 'accuracy', '95 %', *('ties',) * has_ties):
    table.add_column(name, justify='right' if name else 'left', no_wrap=True)
  for heading in shown.values():
    table.add_column(heading, justify='right')
  kinds = list(one['kinds'].items())
  for place, (kind, row) in enumerate(kinds[:_MOST], 1):
    table.add_row(
      markup.escape(shown_kind(kind)),
      *_cells(row, shown, has_ties),
      end_section=place == min(len(kinds), _MOST),
    )
  if len(kinds) > _MOST:
    table.add_row(
      f'{len(kinds) - _MOST} more kinds in --json', end_section=True
    )
  if len(kinds) > 1:
    mean = one['mean']
    table.add_row(
      mean_of(mean),
      '',
      bar(mean['accuracy'], whole['chance']),
      f'{mean["accuracy"]:.1f}',
      style='bold',
    )
    table.add_row('all items', *_cells(whole, shown, has_ties), style='bold')
  return table


def _cells(row: Row, shown: Mapping[str, str], has_ties: bool) -> Iterator[Any]:
  yield f'{row["count"]:,}'
  yield bar(row['accuracy'], row['chance'])
  yield f'{row["accuracy"]:.1f}'
  yield f'{row["low"]:.1f}–{row["high"]:.1f}'
  if has_ties:
    yield f'{row["ties"]:,}'
  for name in shown:
    yield cell(row, name)


def bar(value: float, chance: float) -> Text:
  """Returns a bar of a percentage, with a mark at chance."""
  text = Text()
  filled, mark = round(value / 100 * _BAR), round(chance / 100 * _BAR)
  style = 'green' if value > chance else 'red'
  for place in range(_BAR):
    if place == mark:
      text.append('╂' if place < filled else '┃', 'yellow')
    elif place < filled:
      text.append('━', style)
    else:
      text.append('─', 'dim')
  return text


def task_rows(
  tasks: Mapping[str, Any],
) -> list[tuple[str, Mapping[str, Any] | None, str]]:
  """Returns FOIL's tasks: (name, share, what is right)."""
  classify = tasks['classify']
  return [
    ('classify', classify, 'probability above ½ for captions, below for foils'),
    ('  captions', classify['captions'], 'those that are accepted'),
    ('  foils', classify['foils'], 'those that are rejected'),
    (
      'find',
      tasks['find'],
      'foils whose wrong word is the one most probably wrong',
    ),
    ('mend', tasks['mend'], "foils whose wrong word becomes the caption's"),
  ]


NO_HEADS = 'needs the word heads of stage 2 (phase dc)'


def _tasks(tasks: Mapping[str, Any]) -> Table:
  table = Table(title="FOIL's tasks, percent")
  for name in ('', 'sentences', '', 'accuracy', '95 %', 'what is right'):
    table.add_column(name, no_wrap=True)
  for name, found, meaning in task_rows(tasks):
    if found is None or not found['count']:
      table.add_row(name, '', '', MISSING, '', NO_HEADS)
      continue
    chance = 50.0 if name.strip() in ('classify', 'captions', 'foils') else 0.0
    table.add_row(
      name,
      f'{found["count"]:,}',
      bar(found['accuracy'], chance),
      f'{found["accuracy"]:.1f}',
      f'{found["low"]:.1f}–{found["high"]:.1f}',
      meaning,
    )
  return table


def notes(
  results: Mapping[str, Any],
  reasons: Mapping[str, str],
  left_out: Mapping[str, str],
) -> list[str]:
  """Returns lines on what was not scored, and what was noticed.

  Args:
    results: from `runs.foils.evaluate`.
    reasons: of items, as people read them.
    left_out: the same of records.
  """
  lines = []
  for one in results['benchmarks']:
    family, total = one['family'], one['items']
    for reason, found in one['not_scored'].items():
      more = ', ...' if found['count'] > len(found['first']) else ''
      lines.append(
        f'{family}: {found["count"]:,} of {total:,} items {reasons[reason]}: '
        f'{", ".join(found["first"])}{more}'
      )
    for reason, count in one['left_out'].items():
      lines.append(f'{family}: {count:,} records {left_out[reason]} left out')
    lines += [f'{family}: {remark}' for remark in one['remarks']]
  unknown = results['unknown_words']
  if unknown['sentences']:
    lines.append(
      f'{unknown["sentences"]:,} sentences have words that the vocabulary '
      f'lacks, read as [UNK]: {_quoted(unknown["first"])}'
    )
  return lines


def mean_of(mean: Mapping[str, Any]) -> str:
  """Returns what the mean over kinds is called."""
  count = len(mean['kinds'])
  return f'mean of {count} kind{"s" if count != 1 else ""}'


def shown_kind(kind: str) -> str:
  """Returns a kind as people read it."""
  return tables.KINDS.get(kind, kind)


def pictures(one: Mapping[str, Any]) -> str:
  """Returns which pictures a benchmark was scored with; '' if none."""
  parts = [
    f'{count:,} pictures of {split}' for split, count in one['splits'].items()
  ]
  return '; '.join(filter(None, [', '.join(parts), news(one)]))


def _quoted(words: Sequence[str]) -> str:
  return ', '.join(map(repr, words))
