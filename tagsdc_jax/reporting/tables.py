"""Prints results as tables in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tagsdc_jax.evaluation import recall

# Row of the second count; see `recall.with_equal`.
EQUAL = '  equal sentences as hits'
# Kinds of foils, by their keys in results.json.
KINDS = {
  'all': 'all',
  'colour': 'color',
  'shape': 'shape',
  'size': 'size',
  'relation': 'relation',
  'swap': 'swap',
}
# Of the rows in the demo's comparison.
NAMES = {
  'pretrain': 'pretraining',
  'hard_only': 'hard retrieved negatives only',
  'tags': 'tailored negatives too (TAGS)',
  'dc': 'tailored negatives too (DC)',
}


def print_recalls(
  rows: Sequence[tuple[str, dict[str, Any]]], title: str
) -> None:
  """Prints recalls in percent, one row per named evaluation result.

  Args:
    rows: (name, result); see `recall.evaluate_scores`. If results contain
      `images` and `captions`, a row with chance precedes every change of them;
      `pairs_per_second` is shown if present.
    title: heading.
  """
  table = Table(title=title)
  table.add_column('', no_wrap=True)
  for way in ('image', 'text'):
    for k in recall.CUTOFFS:
      table.add_column(f'{way} R@{k}', justify='right')
  for name in ('mean R@1', 'RSUM', 'pairs/s'):
    table.add_column(name, justify='right')
  before = None
  for name, result in rows:
    if 'images' in result:
      guess = chance(result)
      if before != (result['images'], result['captions'], guess):
        before = result['images'], result['captions'], guess
        table.add_row(
          f'chance among {result["images"]} images',
          *_cells(guess),
          '',
          '',
          style='dim',
        )
    pace = result.get('pairs_per_second')
    table.add_row(
      name,
      *_cells(result),
      f'{result["rsum"]:.1f}',
      '' if pace is None else f'{pace:,.0f}',
    )
    if 'equal_sentences' in result:
      equal = result['equal_sentences']
      table.add_row(EQUAL, *_cells(equal), f'{equal["rsum"]:.1f}', '')
  print_table(table, 120)


def print_precisions(
  rows: Sequence[tuple[str, dict[str, Any]]], title: str
) -> None:
  """Prints the results of `coco_truths.precisions`, one row per result."""
  table = Table(title=title)
  table.add_column('', no_wrap=True)
  kinds = {'map_at_r': 'mAP@R', 'r_precision': 'R-P', 'r1': 'R@1'}
  for way in recall.WAYS:
    for shown in kinds.values():
      table.add_column(f'{way.split("_")[0]} {shown}', justify='right')

  def add(name: str, result: dict[str, Any]) -> None:
    table.add_row(
      name,
      *(f'{result[way][kind]:.1f}' for way in recall.WAYS for kind in kinds),
    )

  for name, result in rows:
    add(name, result)
    if 'equal_sentences' in result:
      add(EQUAL, result['equal_sentences'])
  print_table(table)


def print_numbers(
  rows: Sequence[tuple[str, dict[str, Any]]], title: str
) -> None:
  """Prints the results of a user's protocol, one row per number.

  Args:
    rows: (name, possibly nested dict of numbers).
    title: heading.
  """
  table = Table()
  # Not as the table's title, which would be cut to the table's width.
  table.add_column(title, no_wrap=True)
  table.add_column('', justify='right')
  for name, numbers in rows:
    table.add_row(name, style='bold')
    for key, value in _flat(numbers).items():
      table.add_row(f'  {key}', f'{value:.6g}')
  print_table(table)


def _flat(numbers: dict[str, Any], group: str = '') -> dict[str, float]:
  """Returns the numbers by dotted names."""
  found: dict[str, float] = {}
  for key, value in numbers.items():
    found |= (
      _flat(value, f'{group}{key}.')
      if isinstance(value, dict)
      else {f'{group}{key}': value}
    )
  return found


def print_demo(results: dict[str, Any]) -> None:
  """Prints the demo's phases, and what tailored negatives add.

  Args:
    results: the demo's `results.json`, with one phase at least.
  """
  _print_phases(results['phases'])
  rows = results['ablation']
  kinds = list(rows[0]['foil_accuracy'])
  table = Table(
    title='foil accuracy by kind and mean R@1, test split, percent; chance 50'
  )
  for name in ('', 'updates', *(KINDS[kind] for kind in kinds), 'mean R@1'):
    table.add_column(name, justify='right' if name else 'left', no_wrap=True)
  for row in rows:
    table.add_row(
      NAMES[row['name']],
      str(row['updates'] or ''),
      *(f'{row["foil_accuracy"][kind]["accuracy"]:.1f}' for kind in kinds),
      f'{row["mean_r1"]:.1f}',
      end_section=row['name'] != 'hard_only',
    )
  print_table(table)


def _print_phases(entries: Sequence[dict[str, Any]]) -> None:
  table = Table(title='embedded world, test split, percent')
  table.add_column('', no_wrap=True)
  for way in ('image', 'text'):
    for k in recall.CUTOFFS:
      table.add_column(f'{way} R@{k}', justify='right')
  for name in ('mean R@1', 'foils', 's'):
    table.add_column(name, justify='right')
  guess = chance(entries[0])
  # A caption scores higher than its foil half of the time.
  table.add_row(
    f'chance among {entries[0]["images"]} images',
    *_cells(guess),
    '50.0',
    '',
    style='dim',
  )
  for entry in entries:
    table.add_row(
      entry['name'],
      *_cells(entry | {'mean_r1': recall.mean_r1(entry)}),
      f'{entry["foil_accuracy"]["test"]["all"]["accuracy"]:.1f}',
      f'{entry["seconds"]:.0f}',
    )
  print_table(table)


def print_differences(rows: Sequence[tuple[str, ...]], title: str) -> None:
  """Prints a comparison, file by file.

  Args:
    rows: file, item, largest absolute and relative error, tolerance, verdict,
      note; one line each.
    title: heading.
  """
  table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
  table.add_column('compared', overflow='fold')
  for name in ('max abs', 'max rel', 'tolerance'):
    table.add_column(name, justify='right', no_wrap=True)
  table.add_column('verdict', no_wrap=True)
  table.add_column('note', overflow='fold')
  before = None
  for file, name, *cells in rows:
    if file != before:
      table.add_row(file, style='bold')
    table.add_row(f'  {name}', *cells)
    before = file
  print_table(table, 170)  # One line for each.


def chance(result: dict[str, Any]) -> dict[str, Any]:
  """Returns the recalls of random scores.

  Results of earlier versions do not contain them; they are then computed as if
  captions were spread evenly over the images.
  """
  images, captions = result['images'], result['captions']
  return result.get('chance') or recall.chance(
    images, [captions / images] * images
  )


def print_table(table: Table, width: int = 110) -> None:
  """Prints a table, in a log file with up to `width` characters a line."""
  # Log files have no width; rich's 80 columns would cut the names.
  Console(width=None if Console().is_terminal else width).print(table)


def _cells(result: dict[str, Any]) -> list[str]:
  values = [result[way][f'r{k}'] for way in recall.WAYS for k in recall.CUTOFFS]
  return [f'{value:.1f}' for value in [*values, result['mean_r1']]]
