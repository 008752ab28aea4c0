"""Who holds a folder: seen on one machine, on several, and left by the dead."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from tagsdc_jax import errors
from tagsdc_jax.runs import lock

_HOLDER = """
import pathlib, sys, time
from tagsdc_jax.runs import lock
with lock.Lock(pathlib.Path(sys.argv[1]), '').held():
  print('held', flush=True)
  time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
  for name, seconds in (
    ('_PATIENCE', 0.6),
    ('_LOOK', 0.05),
    ('_SETTLING', 0.5),
    ('_FIRST_BEAT', 0.05),
    ('_BEAT', 0.05),
  ):
    monkeypatch.setattr(lock, name, seconds)


@pytest.fixture(name='path')
def _path(tmp_path):
  return tmp_path / 'run.lock'


def _lock(path):
  return lock.Lock(path, 'pass another folder')


def _take(path):
  """Returns how many seconds it took."""
  start = time.monotonic()
  with _lock(path).held():
    return time.monotonic() - start


def _other(path, **changes):
  """Writes the file as another process does, and returns its content."""
  with _lock(path).held():
    content = json.loads(path.read_bytes()) | {'token': 'other'} | changes
  path.write_text(json.dumps(content))
  return content


def test_one_at_a_time_and_the_line_names_the_holder(path):
  with (
    _lock(path).held(),
    pytest.raises(
      errors.UserError,
      match=(
        f'{path.parent} is in use by process {os.getpid()} on .* since 20.* '
        'UTC; pass another folder'
      ),
    ),
  ):
    _take(path)
  assert not path.exists()
  assert _take(path) < 0.3


@pytest.mark.parametrize('has_flock', [True, False])
def test_what_the_dead_have_left_is_taken_at_once(path, monkeypatch, has_flock):
  with subprocess.Popen(
    [sys.executable, '-c', _HOLDER, str(path)], stdout=subprocess.PIPE
  ) as holder:
    assert holder.stdout.readline() == b'held\n'
    if not has_flock:  # As some shared disks are.

      def refuse(*unused_args):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

      monkeypatch.setattr(fcntl, 'flock', refuse)
    with pytest.raises(errors.UserError, match=f'process {holder.pid} on '):
      _take(path)
    holder.kill()
    # Not waited for: it is a zombie as the next one begins.
    assert _take(path) < 0.6


# Another machine of that name, or a container on this one.
@pytest.mark.parametrize(
  'changes', [{'host': 'elsewhere'}, {'boot': 'another'}, {'space': 'another'}]
)
def test_another_machine_that_gives_signs_of_life_is_left_alone(path, changes):
  content = _other(path, **changes)
  ends = threading.Event()

  def beat():
    while not ends.wait(0.1):
      content['beat'] += 1
      path.write_text(json.dumps(content))

  beating = threading.Thread(target=beat)
  beating.start()
  try:
    with pytest.raises(errors.UserError, match='in use by process'):
      _take(path)
  finally:
    ends.set()
    beating.join()
  # It then ends as by kill -9.
  assert 0.6 < _take(path) < 3.0


def test_another_machine_that_ends_well_is_not_waited_for(path, monkeypatch):
  monkeypatch.setattr(lock, '_PATIENCE', 30.0)
  _other(path, host='elsewhere')
  timer = threading.Timer(0.3, path.unlink)
  timer.start()
  assert _take(path) < 5.0


@pytest.mark.parametrize('content', ['', '{"host": "a', '[]', '{}'])
def test_what_was_cut_is_taken(path, content):
  path.write_text(content)
  assert _take(path) < 3.0


def test_who_was_taken_over_notices_and_touches_nothing(path):
  own = _lock(path)
  with own.held():
    own.check()
    path.unlink()
    theirs = _other(path, host='elsewhere', pid=7)
    path.write_text(json.dumps(theirs))
    time.sleep(0.3)
    assert not own.is_held()
    with pytest.raises(
      errors.UserError,
      match='taken over by process 7 on '
      'elsewhere .* while this process was suspended',
    ):
      own.check()
  assert json.loads(path.read_bytes()) == theirs


def test_it_looks_before_it_says_so_after_standing_still(path, monkeypatch):
  own = _lock(path)
  monkeypatch.setattr(lock, '_BEAT', 60.0)
  monkeypatch.setattr(lock, '_FIRST_BEAT', 60.0)
  with own.held():
    path.write_text(json.dumps({'token': 'other'}))
    assert own.is_held()  # It has looked just now.
    now = lock._now()
    monkeypatch.setattr(lock, '_now', lambda: now + 100)
    assert not own.is_held()
  assert path.exists()


def test_a_file_that_somebody_removed_is_made_again(path):
  own = _lock(path)
  with own.held():
    path.unlink()
    time.sleep(0.3)
    assert own.is_held() and path.exists()
    with pytest.raises(errors.UserError, match='in use'):
      _take(path)
  assert not path.exists()


def test_a_folder_that_may_not_be_written_is_told(tmp_path):
  with pytest.raises(errors.UserError, match='run.lock cannot be written'):
    _take(tmp_path / 'missing' / 'run.lock')
