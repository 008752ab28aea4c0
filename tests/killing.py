"""Kills runs at random moments and continues them: are they the same run?

  python -m tests.killing CONFIG FOLDER --kills 20 --terms 5

CONFIG is a config file of a short run with log_every = 1 and some validations.
Prints a table; fails if a continued run ends with other parameters than the
one that was left alone. A kill comes at a random moment of the training, in the
middle of a save, or in the middle of a validation, in turn; one that comes when
the run has ended already is not counted.
"""

import argparse
import collections
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 600.0  # Seconds that one run may take.


def start(config, run_dir, *overrides):
  """Starts a training in a process of its own."""
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'tagsdc_jax.main',
      'train',
      '--config',
      str(config),
      '--run-dir',
      str(run_dir),
      *overrides,
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def result(run_dir):
  """Returns the hash of the parameters of a run that has ended."""
  return json.loads((run_dir / 'results.json').read_text())['parameters_sha256']


def is_saving(run_dir):
  """Returns whether a checkpoint is half-written just now."""
  return any((run_dir / 'checkpoints').glob('*/*tmp*'))


def is_validating(run_dir):
  """Returns whether a validation is under way: due, its save has begun, and it
  has no result yet."""
  every = json.loads((run_dir / 'config.json').read_text())['settings'][
    'eval_every'
  ]
  lines = [line for line in _lines(run_dir) if line.endswith(b'\n')]
  last = json.loads(lines[-1]) if lines else {'kind': ''}
  return (
    last['kind'] == 'train'
    and every > 0
    and last['update'] % every == 0
    and any((run_dir / 'checkpoints' / 'newest').glob(f'{last["update"]}*'))
  )


# What a run may be in the middle of.
MOMENTS = {
  'a step': lambda run_dir: True,
  'a save': is_saving,
  'a validation': is_validating,
}


def num_logged(run_dir):
  """Returns how many updates a run has logged."""
  return sum(b'"train"' in line for line in _lines(run_dir))


def reported(run_dir):
  """Returns update and kind of every line of metrics."""
  return [(x['update'], x['kind']) for x in map(json.loads, _lines(run_dir))]


def _lines(run_dir):
  path = run_dir / 'metrics.jsonl'
  return path.read_bytes().splitlines(True) if path.exists() else []


def send(process, run_dir, number, delay, moment):
  """Sends a signal some seconds after the first update.

  Args:
    process: from `start`.
    run_dir: its folder.
    number: the signal.
    delay: seconds after the next update is logged.
    moment: one of MOMENTS, which is waited for further.
  Returns:
    what the run was in the middle of; nothing if it had ended.
  """
  before = num_logged(run_dir)
  while process.poll() is None and num_logged(run_dir) <= before:
    time.sleep(0.005)
  time.sleep(delay)
  while process.poll() is None and not MOMENTS[moment](run_dir):
    time.sleep(0.0005)
  if process.poll() is not None:
    return []
  found = [name for name, is_now in MOMENTS.items() if is_now(run_dir)]
  process.send_signal(number)
  return found[1:] or found


def try_once(config, run_dir, number, delay, moment, expected):
  """Stops a run by a signal and continues it.

  Args:
    config: its config file.
    run_dir: a new folder.
    number: the signal.
    delay: see `send`.
    moment: see `send`.
    expected: hash of the parameters that it has to end with.
  Returns:
    what it was in the middle of, and whether all went as it should.
  """
  process = start(config, run_dir)
  found = send(process, run_dir, number, delay, moment)
  begun = time.monotonic()
  said = process.communicate(timeout=LIMIT)[0]
  took, at = time.monotonic() - begun, num_logged(run_dir)
  again = start(config, run_dir)
  told = again.communicate(timeout=LIMIT)[0]
  is_same = (
    again.returncode == 0
    and result(run_dir) == expected
    and reported(run_dir) == reported(run_dir.parent / 'whole')
  )
  # Who was asked to stop has to do so well.
  is_right = is_same and (number == signal.SIGKILL or process.returncode == 0)
  where = f'in {" and ".join(found)}' if found else 'when it had ended'
  print(
    f'{run_dir.name}: {number.name} {where}, {at} updates logged, left '
    f'with {process.returncode} in {took:.1f} s, '
    f'{"identical" if is_same else "DIFFERENT"}',
    flush=True,
  )
  if not is_right:
    print(said[-2000:], told[-2000:], sep='\n', flush=True)
  return found, is_right


def main():
  """Runs it all and prints what came out."""
  parser = argparse.ArgumentParser()
  parser.add_argument('config', type=Path)
  parser.add_argument('folder', type=Path)
  parser.add_argument('--kills', type=int, default=20)
  parser.add_argument('--terms', type=int, default=5)
  parser.add_argument(
    '--seconds',
    type=float,
    default=2.0,
    help='longest wait from the first update to a signal',
  )
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  rng = random.Random(args.seed)
  whole = start(args.config, args.folder / 'whole')
  said = whole.communicate(timeout=LIMIT)[0]
  assert whole.returncode == 0, said
  expected = result(args.folder / 'whole')
  counts, wrong, tried = collections.Counter(), 0, 0
  for number, wanted in (
    (signal.SIGKILL, args.kills),
    (signal.SIGTERM, args.terms),
  ):
    hits = 0
    while hits < wanted:
      moment = 'a step' if number == signal.SIGTERM else list(MOMENTS)[hits % 3]
      found, is_right = try_once(
        args.config,
        args.folder / f'run{tried}',
        number,
        rng.uniform(0, args.seconds),
        moment,
        expected,
      )
      tried, hits, wrong = tried + 1, hits + bool(found), wrong + (not is_right)
      counts.update([f'{number.name} in {" and ".join(found)}'] * bool(found))
  for name, count in counts.items():
    print(f'{name}: {count}')
  print(f'{wrong} of {tried} went wrong')
  return int(wrong > 0)


if __name__ == '__main__':
  sys.exit(main())
