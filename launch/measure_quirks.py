"""Measures what each quirk of the PyTorch release changes, on the world.

Trains stages 1 and 2 with each of their quirks alone and without any, with
several seeds, and prints a table of the differences. Run it with the
environment's Python:

  .venv/bin/python launch/measure_quirks.py runs/quirks --seeds 3

It takes hours on a laptop. If interrupted, the same command continues.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tagsdc_jax import arguments
from tagsdc_jax.settings import kinds

STAGE_1 = (
  'first_word_positive',
  'last_text_offset',
  'other_caption',
  'penalties',
  'last_copy',
  'fill_up',
  'equal_texts',
)
STAGE_2 = (
  'first_word_positive',
  'penalties',
  'clamped_words',
  'reset_rank_head',
)
EVALUATION = ('untrained_rank_head', 'float16_scores', 'overcounted_recall')
WITHOUT, TOGETHER = 'none', 'all'


def main() -> None:
  """Runs what has not been run yet and prints the table."""
  parser = arguments.Parser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument(
    'folder', type=arguments.folder, help='folder for the runs'
  )
  parser.add_argument(
    '--seeds', default=3, type=arguments.of_kind(kinds.Whole(1, 2**16))
  )
  parser.add_argument(
    '--updates', default=250, type=arguments.setting('num_updates')
  )
  parser.add_argument(
    '--stages', type=int, nargs='*', choices=(1, 2), default=[1, 2]
  )
  parser.add_argument(
    '--quirks',
    nargs='*',
    help='measure only these',
    choices=sorted({*STAGE_1, *STAGE_2, *EVALUATION, TOGETHER}),
  )
  args = parser.parse_args()
  rows = []
  for stage, names in ((1, STAGE_1), (2, STAGE_2), (0, EVALUATION)):
    if stage and stage not in args.stages:
      continue
    for name in (WITHOUT, *names, *([TOGETHER] if stage else [])):
      if args.quirks and name not in (WITHOUT, *args.quirks):
        continue
      rows.append(
        (
          stage,
          name,
          [_measure(args, stage, name, seed) for seed in range(args.seeds)],
        )
      )
      _print_table(rows)


def _measure(
  args: argparse.Namespace, stage: int, name: str, seed: int
) -> dict[str, float]:
  """Returns mean R@1 and foil accuracy, in percent."""
  if not stage:
    return _evaluate(args, name, seed)
  run = args.folder / f'stage{stage}_{name}_{seed}'
  if stage == 1:
    start = 'shipped:world_pretrain'
  else:  # With all quirks, stage 1 was trained with all of them, too.
    before = TOGETHER if name == TOGETHER else WITHOUT
    _measure(args, 1, before, seed)
    start = str(args.folder / f'stage1_{before}_{seed}')
  if not (run / 'results.json').exists():
    preset = [] if name != TOGETHER else ['preset=as_released']
    quirks = (
      ['quirks.plain_step=true', 'batch.positives=1', 'batch.micro_batches=32']
      if name != TOGETHER
      else []
    )
    quirks += [f'quirks.{name}=true'] if name not in (WITHOUT, TOGETHER) else []
    _tagsdc(
      'train',
      '--config',
      ('world_tags', 'world_dc')[stage - 1],
      '--run-dir',
      str(run),
      *(
        f'--config.{x}'
        for x in (
          *preset,
          *quirks,
          f'seed={seed}',
          f'init_from={start}',
          f'num_updates={args.updates}',
          f'checkpoint_every={args.updates}',
        )
      ),
    )
  results = json.loads((run / 'results.json').read_text('utf-8'))
  return {
    'mean_r1': results['evaluation']['mean_r1'],
    'foils': results['measures']['foil_accuracy']['test']['all']['accuracy'],
  }


def _evaluate(
  args: argparse.Namespace, name: str, seed: int
) -> dict[str, float]:
  """Returns mean R@1 of a run without quirks, evaluated with a quirk."""
  _measure(args, 1, WITHOUT, seed)
  run = args.folder / f'stage1_{WITHOUT}_{seed}'
  path = args.folder / f'evaluation_{name}_{seed}.json'
  if not path.exists():
    quirks = [f'--config.quirks.{name}=true'] if name != WITHOUT else []
    _tagsdc('evaluate', str(run), '--json', str(path), *quirks)
  return {'mean_r1': json.loads(path.read_text('utf-8'))['mean_r1']}


def _tagsdc(*arguments: str) -> None:
  print('tagsdc', *arguments, file=sys.stderr, flush=True)
  subprocess.run(
    [str(Path(sys.executable).parent / 'tagsdc'), *arguments],
    check=True,
    stdout=subprocess.DEVNULL,
  )


def _print_table(rows: list[tuple[int, str, list[dict[str, float]]]]) -> None:
  """Prints the differences from the runs without quirks, paired by seed."""
  print(
    '\n| stage | quirk | mean R@1 | change, mean (least to most) | foils '
    '| change |\n|---|---|---|---|---|---|'
  )
  for stage, name, found in rows:
    without = next(f for s, n, f in rows if (s, n) == (stage, WITHOUT))
    cells = []
    for key in ('mean_r1', 'foils'):
      values = [x[key] for x in found if key in x]
      changes = [x[key] - y[key] for x, y in zip(found, without) if key in x]
      cells += [
        _mean(values) if values else '',
        ''
        if name == WITHOUT or not changes
        else f'{_mean(changes, "+")} ({min(changes):+.1f} to '
        f'{max(changes):+.1f})',
      ]
    print(
      f'| {stage or "evaluation"} | {name} | {" | ".join(cells)} |', flush=True
    )


def _mean(values: list[float], sign: str = '') -> str:
  return f'{sum(values) / len(values):{sign}.1f}'


if __name__ == '__main__':
  main()
