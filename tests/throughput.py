"""Measures one process against two that divide the same updates, on a CPU.

  python -m tests.throughput world_tags FOLDER --updates 16 \\
      --config.batch.micro_batches=16 --config.batch.positives=16

A config file or a name, a new folder, and settings as for `tagsdc train`; the
micro-batches must be divisible by two. All cores of the machine must be free,
and there must be two at least.

The same work: every run does the same updates with the same draws, on all
cores. Two processes get half of the cores each, as each would have a machine of
its own. One process gets all of them, in one device whose operations XLA
divides, and in two devices that divide the micro-batches; the faster one of the
two is what two processes are compared with. The speed of a run is the median of
its updates after the first five, in positives of all devices per second,
without compiling, saves and validations.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from tagsdc_jax.runs import folder
from tagsdc_jax.runtime import launcher

_WARM_UP = 5
# Processes and devices of each.
PLANS = ((1, 1), (1, 2), (2, 1))
# XLA makes as many threads as the process has cores when it starts.
_ON_OWN_CORES = """
import os, sys
from tagsdc_jax import main
from tagsdc_jax.runtime import distributed
index, count = (int(os.environ[name])
                for name in (distributed.INDEX, distributed.COUNT))
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[index::count])
sys.exit(main.main(sys.argv[1:]))
"""


def measure(config, overrides, run_dir, updates, processes, devices):
  """Returns positives per second over all devices.

  Raises:
    RuntimeError: if the run failed; it has said why.
  """
  code = launcher.run(
    [
      sys.executable,
      '-c',
      _ON_OWN_CORES,
      'train',
      '--config',
      config,
      '--run-dir',
      str(run_dir),
      '--config.log_every=1',
      f'--config.stop_at_update={updates}',
      '--config.eval_every=0',
      f'--config.checkpoint_every={updates}',
      '--config.num_devices=0',
      *overrides,
    ],
    processes,
    devices,
  )
  if code:
    raise RuntimeError(f'{processes} processes: exit code {code}')
  lines = map(json.loads, (run_dir / folder.METRICS).read_text().splitlines())
  return (
    processes
    * devices
    * statistics.median(
      line['positives_per_second_per_device']
      for line in lines
      if line['kind'] == 'train' and line['update'] > _WARM_UP
    )
  )


def main():
  """Runs all plans and prints a table."""
  parser = argparse.ArgumentParser()
  parser.add_argument('config')
  parser.add_argument('folder', type=Path)
  parser.add_argument('--updates', type=int, default=40)
  args, overrides = parser.parse_known_args()
  if args.updates <= _WARM_UP:
    parser.error(f'--updates must be above {_WARM_UP}, got {args.updates}')
  cores = len(os.sched_getaffinity(0))
  if cores < 2:
    parser.error(f'two processes need two cores, got {cores}')
  speeds = {
    plan: measure(
      args.config,
      overrides,
      args.folder / f'{plan[0]}x{plan[1]}',
      args.updates,
      *plan,
    )
    for plan in PLANS
  }
  for (processes, devices), speed in speeds.items():
    print(
      f'{processes} x {devices} (processes x devices): {speed:.2f} '
      'positives per second'
    )
  best = max(speeds[plan] for plan in PLANS if plan[0] == 1)
  print(f'two processes reach {100 * speeds[2, 1] / best:.0f} % of one')


if __name__ == '__main__':
  main()
