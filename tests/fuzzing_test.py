"""A few of the damaged files of `tests/fuzzing.py`; and what it found."""

import shutil
import subprocess
import sys
import textwrap

import pytest

from tagsdc_jax import errors
from tagsdc_jax.comparison import stored
from tests import fuzzing


def _python(*arguments):
  """Runs in a process without JAX's threads: cases are forked off it."""
  return subprocess.run(
    [sys.executable, *arguments],
    capture_output=True,
    text=True,
    check=False,
    cwd=fuzzing.ROOT,
  )


def test_damaged_files_end_in_words():
  ended = _python('-m', 'tests.fuzzing', '--cases', '90', '--seed', '2')
  assert ended.returncode == 0, ended.stdout
  counts = {
    line.rpartition(' ')[0]: int(line.rpartition(' ')[2])
    for line in ended.stdout.splitlines()
  }
  assert sum(counts.values()) == 90
  assert {key.rpartition(' ')[0] for key in counts} == set(fuzzing.TARGETS)
  for target in fuzzing.TARGETS:
    assert counts[f'{target} told'] > 0


def test_a_crash_a_hang_and_a_traceback_would_be_seen():
  ended = _python(
    '-c',
    textwrap.dedent("""
      import os, signal
      from tests import fuzzing
      fuzzing.LIMIT = 0.3
      def wait(place):
        while True:
          pass
      print(fuzzing.read_apart(wait, None)[0])
      end = lambda place: os.kill(os.getpid(), signal.SIGSEGV)
      print(*fuzzing.read_apart(end, None))
      print(fuzzing.read_apart(lambda place: 1 // 0, None)[0])
      """),
  )
  assert ended.stdout.splitlines() == ['hang', 'crash exit -11', 'traceback']


def test_a_damaged_stream_within_an_npz_file(tmp_path):
  # zlib has an error of its own.
  path = tmp_path / 'forward.npz'
  shutil.copy(fuzzing.RECORDED / 'forward.npz', path)
  content = bytearray(path.read_bytes())
  content[290365 : 290365 + 512] = content[1000:1512]
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match='cannot be read as arrays'):
    stored.open_arrays(path, check=True)
