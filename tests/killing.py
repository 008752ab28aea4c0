"""Kills runs at random moments and continues them: are they the same run?

  python -m tests.killing CONFIG FOLDER --kills 20 --terms 5

CONFIG is a config file of a short run. Prints a table; fails if a continued
run ends with other parameters than the one that was left alone. A kill comes
at a random moment of the training, every other one in the middle of a save.
"""

import argparse
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
      [sys.executable, '-m', 'tagsdc_jax.main', 'train', '--config',
       str(config), '--run-dir', str(run_dir), *overrides],
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def result(run_dir):
  """Returns the hash of the parameters of a run that has ended."""
  return json.loads((run_dir / 'results.json').read_text())[
      'parameters_sha256']


def is_saving(run_dir):
  """Returns whether a checkpoint is half-written just now."""
  return any((run_dir / 'checkpoints').glob('*/*tmp*'))


def num_logged(run_dir):
  """Returns how many updates a run has logged."""
  path = run_dir / 'metrics.jsonl'
  return path.read_bytes().count(b'"train"') if path.exists() else 0


def send(process, run_dir, number, delay, in_a_save):
  """Sends a signal some seconds after the first update.

  Args:
    process: from `start`.
    run_dir: its folder.
    number: the signal.
    delay: seconds after the next update is logged.
    in_a_save: wait further until a save is under way.
  Returns:
    whether the run was still alive.
  """
  before = num_logged(run_dir)
  while process.poll() is None and num_logged(run_dir) <= before:
    time.sleep(0.005)
  time.sleep(delay)
  while in_a_save and process.poll() is None and not is_saving(run_dir):
    time.sleep(0.0005)
  if process.poll() is not None:
    return False
  process.send_signal(number)
  return True


def main():
  """Runs it all and prints what came out."""
  parser = argparse.ArgumentParser()
  parser.add_argument('config', type=Path)
  parser.add_argument('folder', type=Path)
  parser.add_argument('--kills', type=int, default=20)
  parser.add_argument('--terms', type=int, default=5)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  rng = random.Random(args.seed)
  whole = start(args.config, args.folder / 'whole')
  assert whole.wait(LIMIT) == 0, whole.stdout.read()
  expected = result(args.folder / 'whole')
  wrong = 0
  for index in range(args.kills + args.terms):
    number = signal.SIGKILL if index < args.kills else signal.SIGTERM
    in_a_save = number == signal.SIGKILL and index % 2 == 1
    run_dir = args.folder / f'run{index}'
    process = start(args.config, run_dir)
    was_hit = send(process, run_dir, number, rng.uniform(0, 2), in_a_save)
    begun = time.monotonic()
    said = process.communicate(timeout=LIMIT)[0]
    took = time.monotonic() - begun
    at = num_logged(run_dir)
    again = start(args.config, run_dir)
    told = again.communicate(timeout=LIMIT)[0]
    is_same = again.returncode == 0 and result(run_dir) == expected
    is_right = is_same and (number == signal.SIGKILL
                            or process.returncode == 0)
    wrong += not is_right
    print(f'{index}: {number.name}{" in a save" if in_a_save else ""} '
          f'{"" if was_hit else "came too late "}after update {at}, left '
          f'with {process.returncode} in {took:.1f} s, '
          f'{"identical" if is_same else "DIFFERENT"}', flush=True)
    if not is_right:
      print(said[-2000:], told[-2000:], sep='\n', flush=True)
  print(f'{wrong} of {args.kills + args.terms} went wrong')
  return int(wrong > 0)


if __name__ == '__main__':
  sys.exit(main())
