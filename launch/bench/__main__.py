"""Measures positives and pairs per second against eager PyTorch.

Run it through launch/bench.sh. Progress and a table go to the terminal,
every number to OUT/bench.json.
"""

import argparse
import platform
import sys
from pathlib import Path

from tagsdc_jax import arguments
from tagsdc_jax.settings import kinds

ITEMS = ('evaluation', 'stage1', 'stage2')
EXAMPLES = """examples:
  bash launch/bench.sh cpu                     made-up data, fresh weights
  bash launch/bench.sh cpu --data DATA --weights runs/pretrain --temperature 0.4
  bash launch/bench.sh gpu                     UNITER-base shapes, bfloat16
  bash launch/bench.sh gpu --set attention=cudnn --set score_tokens=32768

--data is a folder in UNITER's format, with txt_db/*train.db, txt_db/*test.db
and one img_db/*; --weights a run folder of that data. Without PyTorch only our
side is measured.
"""


def parse(words: list[str]) -> argparse.Namespace:
  """Returns the options."""
  parser = arguments.Parser(
    prog='bench',
    description=__doc__,
    epilog=EXAMPLES,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('size', choices=('cpu', 'gpu', 'tiny'))
  parser.add_argument(
    '--out', type=arguments.folder, default=Path('runs/bench')
  )
  parser.add_argument(
    '--items',
    default=ITEMS,
    metavar='ITEM,...',
    type=arguments.of_kind(kinds.Several(kinds.Choice(ITEMS))),
    help=f'what to measure, any of {",".join(ITEMS)}',
  )
  parser.add_argument(
    '--data', type=arguments.path, help='a folder of real data'
  )
  parser.add_argument('--weights', type=arguments.path, help='a run folder')
  parser.add_argument(
    '--temperature',
    type=arguments.setting('negatives.temperature'),
    help='for refilling; lower it until sentences repeat as in practice',
  )
  parser.add_argument(
    '--set',
    action='append',
    default=[],
    metavar='NAME=VALUE',
    help='a setting of `compute`',
  )
  return parser.parse_args(words)


def main() -> int:
  """Returns the exit code."""
  options = parse(sys.argv[1:])
  # Imported here so that --help does not need JAX.
  from benchmark import items, problem
  from tagsdc_jax import errors, files

  try:
    given = problem.make(
      options.size,
      options.data,
      options.weights,
      options.temperature,
      options.set,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    result = {
      'size': options.size,
      'data': given.source,
      'machine': platform.processor() or platform.machine(),
      **items.environment(given),
    }
    for name in options.items:
      print(f'{name} ...', flush=True)
      result[name] = items.ITEMS[name](given, result)
      files.write_json(options.out / 'bench.json', result)
      items.show(name, result[name])
  except (errors.UserError, OSError) as error:
    print(f'bench: {error}', file=sys.stderr)
    return 2
  print(f'all numbers are in {options.out / "bench.json"}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
