"""Data that never comes, in one process of two."""

import subprocess
import sys
import textwrap
import time

import pytest

from tagsdc_jax import hanging

# Delays in seconds of the items that are waited for at most 0.3 s.
_SCRIPT = '''
import time
import jax
jax.process_count, jax.process_index = lambda: 2, lambda: 1
from tagsdc_jax import hanging
def items():
  for delay in {delays}:
    time.sleep(delay)
    yield delay
for item in hanging.watched(items(), {seconds}):
  print(item, flush=True)
'''


def _run(delays, seconds=0.3):
  return subprocess.run(
      [sys.executable, '-c', textwrap.dedent(_SCRIPT).format(
          delays=delays, seconds=seconds)],
      capture_output=True, text=True, check=False, timeout=60)


def test_who_waits_for_ever_ends_and_says_so():
  ended = _run([0.5, 0.01, 3600])
  assert ended.returncode == hanging.HUNG
  # The first one may be slow.
  assert ended.stdout.split() == ['0.5', '0.01']
  line, = ended.stderr.splitlines()
  assert line.startswith('tagsdc: process 1 of 2 (numbered from 0) has waited '
                         '0 s for data and ends;')
  assert 'hang_seconds' in line and 'the same command again' in line


@pytest.mark.parametrize('delays, seconds', [
    ([0.01, 0.2, 0.6, 0.01], 0.3),  # Not five times as slow as before.
    ([0.01, 0.5], 0)])
def test_what_is_only_slow_is_waited_for(delays, seconds):
  ended = _run(delays, seconds)
  assert ended.returncode == 0
  assert ended.stdout.split() == [str(delay) for delay in delays]


def test_one_process_waits_as_long_as_it_takes():
  def items():
    yield 0
    time.sleep(0.1)
    yield 1
  assert list(hanging.watched(items(), 0.01)) == [0, 1]
