"""Judges generated negatives of the embedded world by its oracle.

  python launch/measure_negatives.py FOLDER...

Each FOLDER is one that `tagsdc generate` wrote. Prints, by kind of edit, the
share of negatives that are false, still true, or no sentence, and the share of
captions that have at least two negatives.
"""

import sys
from pathlib import Path

from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import oracle
from tagsdc_jax.negative_files import records
from tagsdc_jax.runs import negatives_folder, world_measures

ENOUGH = 2


def judge(folder: Path) -> tuple[dict[str, list[str]], float]:
  """Returns the verdicts by kind and over all, and the share of captions."""
  file = records.File(folder / negatives_folder.NEGATIVES)
  split = file.header['data']['split']
  scenes = dict(
    zip(
      world.load_world(split).image_ids, world.load_scenes(split), strict=True
    )
  )
  found: dict[str, list[str]] = {'all': []}
  enough = count = 0
  for caption in file:
    count += 1
    enough += len(caption.negatives) >= ENOUGH
    for one in caption.negatives:
      verdict = oracle.judge(one.text.split(), scenes[caption.image_id])
      found['all'].append(verdict)
      found.setdefault(one.kind, []).append(verdict)
  return found, 100 * enough / max(count, 1)


def main(folders: list[str]) -> None:
  """Prints a table of each folder."""
  for folder in folders:
    found, enough = judge(Path(folder))
    print(f'{folder}: {enough:.1f} % of the captions have {ENOUGH} or more')
    for kind, verdicts in found.items():
      shares = world_measures.shares(verdicts) or {}
      text = ', '.join(f'{name} {share:.2f}' for name, share in shares.items())
      print(f'  {kind:10} {len(verdicts):6,} {text}')


if __name__ == '__main__':
  main(sys.argv[1:])
