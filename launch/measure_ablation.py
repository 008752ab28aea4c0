"""Measures what tailored negatives add on the world, with several seeds.

Runs the demo once per seed and prints a table in Markdown: foil accuracy by
kind and R@1 on the test split, with and without tailored negatives after the
same number of updates from the same weights, and their difference. Run it with
the environment's Python:

  .venv/bin/python launch/measure_ablation.py runs/ablation --seeds 5

A seed takes as long as a demo. If interrupted, the same command continues.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tagsdc_jax import arguments
from tagsdc_jax.reporting import tables
from tagsdc_jax.settings import kinds

COLUMNS = (*tables.KINDS.values(), 'image R@1', 'text R@1')
ROWS = (
  (0, 'pretrain'),
  (1, 'hard_only'),
  (1, 'tags'),
  (2, 'hard_only'),
  (2, 'dc'),
)


def main() -> None:
  """Runs the demos that have not been run yet and prints the table."""
  parser = arguments.Parser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument(
    'folder', type=arguments.folder, help='folder for the demos'
  )
  parser.add_argument(
    '--seeds', default=5, type=arguments.of_kind(kinds.Whole(2, 2**16))
  )
  args = parser.parse_args()
  print_table([_run(args.folder / f'seed{n}', n) for n in range(args.seeds)])


def _run(folder: Path, seed: int) -> dict[tuple[int, str], list[float]]:
  """Returns the numbers of COLUMNS for each of ROWS."""
  command = ['demo', '--run-dir', str(folder), '--seed', str(seed)]
  print('tagsdc', *command, file=sys.stderr, flush=True)
  subprocess.run(
    [str(Path(sys.executable).parent / 'tagsdc'), *command],
    check=True,
    stdout=subprocess.DEVNULL,
  )
  rows = json.loads((folder / 'results.json').read_text('utf-8'))['ablation']
  return {(row['stage'], row['name']): _numbers(row) for row in rows}


def _numbers(row: dict[str, Any]) -> list[float]:
  return [row['foil_accuracy'][kind]['accuracy'] for kind in tables.KINDS] + [
    row['image_r1'],
    row['text_r1'],
  ]


def print_table(found: Sequence[dict[tuple[int, str], list[float]]]) -> None:
  """Prints means over seeds with 95 % intervals of Student's t.

  Args:
    found: the numbers of every seed.
  """
  print(
    f'| stage | negatives | {" | ".join(COLUMNS)} |\n'
    f'|---|---|{"---|" * len(COLUMNS)}'
  )
  values = {row: np.array([one[row] for one in found]) for row in ROWS}
  for stage, name in ROWS:
    _print_row(stage, tables.NAMES[name], values[stage, name])
    if name in ('tags', 'dc'):
      # Paired: both arms of a seed start from the same weights.
      change = values[stage, name] - values[stage, 'hard_only']
      _print_row(stage, 'difference', change, '+')


def _print_row(
  stage: int, name: str, values: np.ndarray, sign: str = ''
) -> None:
  count = len(values)
  half = stats.t.ppf(0.975, count - 1) * values.std(0, ddof=1) / np.sqrt(count)
  cells = [
    f'{mean:{sign}.1f}' + (f' ± {width:.1f}' if stage else '')
    for mean, width in zip(values.mean(0), half, strict=True)
  ]
  print(f'| {stage or ""} | {name} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
  main()
