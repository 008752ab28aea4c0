"""Judges generated negatives of the embedded world by its oracle.

  python launch/measure_negatives.py FOLDER...

Each FOLDER is one that `tagsdc generate` wrote. Prints, by kind of edit, the
share of negatives that are false, still true, or no sentence, and the share of
captions that have at least two negatives.
"""

import sys
from collections import Counter
from pathlib import Path

from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import oracle
from tagsdc_jax.negative_files import records
from tagsdc_jax.runs import negatives_folder
from tagsdc_jax.runs.world_measures import VERDICTS

ENOUGH = 2


def judge(folder: Path) -> tuple[dict[str, Counter[str]], float]:
  """Returns the verdicts by kind and over all, and the share of captions."""
  file = records.File(folder / negatives_folder.NEGATIVES)
  scenes = dict(
    zip(
      world.load_world(file.header['data']['split']).image_ids,
      world.load_scenes(file.header['data']['split']),
      strict=True,
    )
  )
  found: dict[str, Counter[str]] = {'all': Counter()}
  enough = count = 0
  for caption in file:
    count += 1
    enough += len(caption.negatives) >= ENOUGH
    for one in caption.negatives:
      verdict = oracle.judge(one.text.split(), scenes[caption.image_id])
      name = verdict.replace(' ', '_').replace('not_a', 'not_a')
      found['all'][name] += 1
      found.setdefault(one.kind, Counter())[name] += 1
  return found, 100 * enough / max(count, 1)


def main(folders: list[str]) -> None:
  """Prints a table of each folder."""
  for folder in folders:
    found, enough = judge(Path(folder))
    print(f'{folder}: {enough:.1f} % of the captions have {ENOUGH} or more')
    for kind, counts in found.items():
      total = sum(counts.values())
      shares = ', '.join(
        f'{name} {100 * counts[name] / max(total, 1):.2f}' for name in VERDICTS
      )
      print(f'  {kind:10} {total:6,} {shares}')


if __name__ == '__main__':
  main(sys.argv[1:])
