"""Measures one process against two that divide the same updates, on a CPU.

  python -m tests.throughput CONFIG FOLDER --updates 40

CONFIG is a config file or a name, FOLDER new. Both cores of the machine must
be free. Every run does the same updates; its speed is the median of the
updates after the first five.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from tagsdc_jax import launching
from tagsdc_jax.running import folder

_WARM_UP = 5
# Processes and devices of each; one of one leaves the cores to XLA's threads.
PLANS = ((1, 1), (1, 2), (2, 1))


def measure(config, run_dir, updates, processes, devices):
  """Returns positives per second over all devices.

  Raises:
    RuntimeError: if the run failed; it has said why.
  """
  code = launching.run(
      [sys.executable, '-m', 'tagsdc_jax.main', 'train', '--config', config,
       '--run-dir', str(run_dir), '--config.log_every=1',
       f'--config.stop_at_update={updates}', '--config.eval_every=0',
       f'--config.checkpoint_every={updates}', '--config.num_devices=0'],
      processes, devices)
  if code:
    raise RuntimeError(f'{processes} processes: exit code {code}')
  lines = map(json.loads, (run_dir / folder.METRICS).read_text().splitlines())
  return processes * devices * statistics.median(
      line['positives_per_second_per_device'] for line in lines
      if line['kind'] == 'train' and line['update'] > _WARM_UP)


def main():
  """Runs all plans and prints a table."""
  parser = argparse.ArgumentParser()
  parser.add_argument('config')
  parser.add_argument('folder', type=Path)
  parser.add_argument('--updates', type=int, default=40)
  args = parser.parse_args()
  if args.updates <= _WARM_UP:
    parser.error(f'--updates must be above {_WARM_UP}, got {args.updates}')
  speeds = {plan: measure(args.config, args.folder / f'{plan[0]}x{plan[1]}',
                          args.updates, *plan) for plan in PLANS}
  for (processes, devices), speed in speeds.items():
    print(f'{processes} x {devices} (processes x devices): {speed:.2f} '
          'positives per second')
  best = max(speeds[plan] for plan in PLANS if plan[0] == 1)
  print(f'two processes reach {100 * speeds[2, 1] / best:.0f} % of one')


if __name__ == '__main__':
  main()
