"""A lock for a folder that only one process may write, on any machine.

On one machine the system's lock (`flock`) tells who holds it, and is released
when that process ends for whatever reason. Machines that share a disk may not
see each other's locks. So the holder renews the lock file every few seconds,
and a process that finds another machine's name in it watches whether it is
renewed. No clocks are compared.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.runtime import progress

NAME = 'run.lock'
# Seconds between renewals; until a holder that does not renew is considered
# dead, as disks may show other machines' writes late; between checks.
_BEAT, _PATIENCE, _LOOK = 10.0, 35.0, 0.5
# Seconds until the first renewal. If two machines took the file at the same
# moment, one of them then finds the other's name.
_FIRST_BEAT = 1.0
# Maximum seconds for a process to disappear after kill -9, or to write its
# name.
_SETTLING = 2.0
_LENGTH = 512


class Lock:
  """A lock file."""

  def __init__(self, path: Path, remedy: str, option: str = 'path') -> None:
    """Does not acquire the lock; see `held`.

    Args:
      path: the lock file, which exists only while the lock is held.
      remedy: for the message if another process holds the lock.
      option: for the message if the file system refuses, see `errors.refusal`.
    """
    self._path, self._remedy, self._option = path, remedy, option
    self._token = secrets.token_hex(8)
    self._about = _this_process() | {
      'token': self._token,
      'since': time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime()),
    }
    self._file: int | None = None
    self._beats = 0
    self._looked = 0.0
    self._guard, self._ends = threading.Lock(), threading.Event()

  @contextlib.contextmanager
  def held(self) -> Iterator[None]:
    """Holds the lock inside the block.

    Raises:
      UserError: if another process holds it, or the file system refuses.
    """
    with errors.named(self._path, option=self._option):
      settled = time.monotonic() + _SETTLING
      while not self._acquire(time.monotonic() > settled):
        time.sleep(_LOOK / 10)
    beating = threading.Thread(target=self._beat, daemon=True)
    beating.start()
    try:
      yield
    finally:
      self._ends.set()
      with self._guard, contextlib.suppress(OSError):
        if self._renew():
          self._path.unlink()
        self._let_go()

  def is_held(self) -> bool:
    """Returns whether it is still held; reads the file if that is uncertain."""
    with self._guard:
      if self._file is not None and _now() - self._looked > 1.5 * _BEAT:
        with errors.named(self._path):
          self._renew()
      return self._file is not None

  def check(self) -> None:
    """Raises UserError if another process has taken the lock.

    This happens if this process was suspended, or its machine asleep, while
    another machine watched for a renewal.
    """
    if not self.is_held():
      raise errors.UserError(
        f'{self._path.parent} was taken over by '
        f'{_name(_holder(_read(self._path)))} while this process was '
        'suspended; it exits, and what it saved before is intact'
      )

  def _acquire(self, is_settled: bool) -> bool:
    """Returns whether the lock was acquired; if not, try again.

    Args:
      is_settled: whether the time for short-lived states has passed.
    """
    file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
      if self._is_free(file, is_settled):
        self._file, file = file, -1
        self._write()
        return True
    finally:
      if file >= 0:
        os.close(file)
    return False

  def _is_free(self, file: int, is_settled: bool) -> bool:
    """Returns whether the open file can be taken; see `_acquire`."""
    is_locked = not _lock(file)
    # It may have been removed since it was opened.
    if not is_locked and os.fstat(file).st_ino != _inode(self._path):
      return False
    content = _read(self._path)
    holder = _holder(content)
    if is_locked or _is_alive(holder):
      if is_settled:
        raise self._refusal(holder)
      return False
    if not content:
      return True
    if _place(holder) == _place(self._about):
      return True  # The holder was on this machine, and is dead.
    return self._is_silent(content)

  def _is_silent(self, content: bytes) -> bool:
    """Returns whether another machine's process does not renew the file."""
    with progress.waiting(
      f'{self._path.parent} is held by {_name(_holder(content))}, on another '
      f'machine; checking for {_PATIENCE:.0f} s whether that is running'
    ):
      end = time.monotonic() + _PATIENCE
      while time.monotonic() < end:
        time.sleep(_LOOK)
        now = _read(self._path)
        if not now:
          return False  # It has just ended.
        if now != content:
          raise self._refusal(_holder(now))
    return True

  def _refusal(self, holder: dict[str, Any]) -> errors.UserError:
    return errors.UserError(
      f'{self._path.parent} is in use by {_name(holder)}; {self._remedy}'
    )

  def _beat(self) -> None:
    seconds = _FIRST_BEAT
    while not self._ends.wait(seconds):
      seconds = _BEAT
      # A disk may be unavailable for a while; `is_held` checks again.
      with self._guard, contextlib.suppress(OSError):
        if self._ends.is_set() or not self._renew():
          return

  def _renew(self) -> bool:
    """Renews the file, or closes it if another process has taken it."""
    if self._file is None:
      return False
    content = _read(self._path)
    if content and _holder(content).get('token') != self._token:
      self._let_go()
      return False
    if not content:  # It was removed.
      self._let_go()
      self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
      _lock(self._file)
    self._write()
    return True

  def _write(self) -> None:
    assert self._file is not None
    text = json.dumps(self._about | {'beat': self._beats})
    os.pwrite(self._file, text.ljust(_LENGTH).encode() + b'\n', 0)
    os.fsync(self._file)
    self._beats, self._looked = self._beats + 1, _now()

  def _let_go(self) -> None:
    if self._file is not None:
      os.close(self._file)
    self._file = None


def _lock(file: int) -> bool:
  """Returns False if the system reports that another process has the file."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError:
    pass  # The file system has no locks: the content decides.
  return True


def _this_process() -> dict[str, Any]:
  return {
    'host': socket.gethostname(),
    'pid': os.getpid(),
    'start': _start(os.getpid()),
    # Machines and containers may share a host name, but not these two.
    'boot': _text('/proc/sys/kernel/random/boot_id'),
    'space': _link('/proc/self/ns/pid'),
  }


def _place(process: dict[str, Any]) -> tuple[Any, ...]:
  """Returns the scope in which a process id is unique."""
  return tuple(process.get(key) for key in ('host', 'boot', 'space'))


def _is_alive(process: dict[str, Any]) -> bool:
  """Returns whether a process on this machine is alive; else False."""
  return (
    _place(process) == _place(_this_process())
    and process.get('start') is not None
    and _start(process['pid']) == process['start']
  )


def _start(pid: int) -> str | None:
  """Returns a process's start in clock ticks, None if it is dead."""
  state, *rest = (
    (_text(f'/proc/{pid}/stat') or ') X').rpartition(')')[2].split()
  )
  return rest[18] if state not in 'ZX' else None


def _name(process: dict[str, Any]) -> str:
  if not process:
    return 'another process'
  return (
    f'process {process.get("pid")} on {process.get("host")} since '
    f'{process.get("since")}'
  )


def _holder(content: bytes) -> dict[str, Any]:
  """Returns the process in a lock file; empty if there is none."""
  try:
    found = json.loads(content)
  except ValueError:
    return {}
  return found if isinstance(found, dict) else {}


def _read(path: Path) -> bytes:
  try:
    return path.read_bytes()
  except FileNotFoundError:
    return b''


def _text(path: str) -> str | None:
  try:
    return Path(path).read_text('utf-8').strip()
  except OSError:
    return None


def _link(path: str) -> str | None:
  try:
    return os.readlink(path)
  except OSError:
    return None


def _inode(path: Path) -> int | None:
  try:
    return path.stat().st_ino
  except FileNotFoundError:
    return None


def _now() -> float:
  """Returns seconds, including those while the process or machine sleeps."""
  return time.clock_gettime(
    getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC)
  )
