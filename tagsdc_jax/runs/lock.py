"""A folder that one process writes at a time, on one machine or on several.

On one machine the system's own lock (`flock`) says who holds it, and ends with
the process, however it ends. Machines that share a disk may not see each
other's. So the holder renews the file every few seconds, and who finds another
machine's name in it watches whether it is renewed. No clocks are compared.
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
# Seconds between two renewals; until a holder that renews nothing is taken for
# dead, for disks may show files of other machines late; between two looks.
_BEAT, _PATIENCE, _LOOK = 10.0, 35.0, 0.5
# Seconds until the first renewal. Of two machines that have taken the file in
# the same moment one finds the other's name then.
_FIRST_BEAT = 1.0
# Seconds that a process takes at most to be gone after kill -9, or to write its
# name.
_SETTLING = 2.0
_LENGTH = 512


class Lock:
  """A lock file."""

  def __init__(self, path: Path, remedy: str, option: str = 'path') -> None:
    """Takes nothing yet, see `held`.

    Args:
      path: the file; gone when nobody holds it.
      remedy: for the line, if another process holds it.
      option: for the line, if the file system refuses; see `errors.refusal`.
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
    """Holds it inside.

    Raises:
      UserError: if another process does, or the file system refuses.
    """
    with errors.named(self._path, option=self._option):
      settled = time.monotonic() + _SETTLING
      while not self._is_taken(time.monotonic() > settled):
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
    """Returns whether it still is; looks if that is not known any more."""
    with self._guard:
      if self._file is not None and _now() - self._looked > 1.5 * _BEAT:
        with errors.named(self._path):
          self._renew()
      return self._file is not None

  def check(self) -> None:
    """Raises UserError if another process has taken it.

    So it goes with a process that stands still, stopped or its machine asleep,
    while another machine waits for a sign of life.
    """
    if not self.is_held():
      raise errors.UserError(
        f'{self._path.parent} was taken over by '
        f'{_name(_holder(_read(self._path)))} while this process stood '
        'still; it ends, and what it saved before is there'
      )

  def _is_taken(self, is_settled: bool) -> bool:
    """Returns whether it could be taken; if not, look again.

    Args:
      is_settled: whether what may change at once has had its time.
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
    """As `_is_taken`, of the open file."""
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
      return True  # It was of this machine, and is dead.
    return self._is_silent(content)

  def _is_silent(self, content: bytes) -> bool:
    """Returns whether another machine's process renews nothing."""
    with progress.waiting(
      f'{self._path.parent} is held by {_name(_holder(content))}, on another '
      f'machine; looking for {_PATIENCE:.0f} s whether that is at work'
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
      # A disk may be away for a while; `is_held` looks again.
      with self._guard, contextlib.suppress(OSError):
        if self._ends.is_set() or not self._renew():
          return

  def _renew(self) -> bool:
    """Renews the file; lets go of it if it is another process's now."""
    if self._file is None:
      return False
    content = _read(self._path)
    if content and _holder(content).get('token') != self._token:
      self._let_go()
      return False
    if not content:  # Somebody has removed it.
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
  """Returns False if the system says that another process holds the file."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError:
    pass  # A file system without: its content tells.
  return True


def _this_process() -> dict[str, Any]:
  return {
    'host': socket.gethostname(),
    'pid': os.getpid(),
    'start': _start(os.getpid()),
    # Machines and containers may share a name; these two they do not.
    'boot': _text('/proc/sys/kernel/random/boot_id'),
    'space': _link('/proc/self/ns/pid'),
  }


def _place(process: dict[str, Any]) -> tuple[Any, ...]:
  """Returns where a process number means a process."""
  return tuple(process.get(key) for key in ('host', 'boot', 'space'))


def _is_alive(process: dict[str, Any]) -> bool:
  """Returns whether a process of this machine is there; else False."""
  return (
    _place(process) == _place(_this_process())
    and process.get('start') is not None
    and _start(process['pid']) == process['start']
  )


def _start(pid: int) -> str | None:
  """Returns when a process began, in the system's ticks; None: it is dead."""
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
  """Returns who has written it; empty if nobody or cut."""
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
  """Returns seconds that go on where the process or the machine sleeps."""
  return time.clock_gettime(
    getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC)
  )
