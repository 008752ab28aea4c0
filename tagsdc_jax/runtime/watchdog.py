"""A watchdog: a process of a multi-process run that hangs reports it and exits.

The runtime notices when a process or its machine dies, but not when a live
process makes no progress; all others would wait for it. Only the hanging
process itself can tell that it is the one, because the others are also in the
middle of an update or a collective operation. So each process watches the work
that it does alone, and nothing that waits for others.
"""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, TypeVar

import jax

# Exit code of a process that hangs.
HUNG = 4
# A piece of work may take this many times the longest one so far.
_SLOWER = 5.0
# Work that includes compilation, or reads with cold caches, may take this many
# times as long as later work.
_PATIENCE = 20.0
# Assumed minimum speed of disks, bytes per second.
_LEAST_SPEED = 4e6
_Item = TypeVar('_Item')


class Work(NamedTuple):
  """A kind of work that a process does alone.

  Attributes:
    doing: what the process is doing, for the message.
    look_at: what may be wrong, for the message.
    first: the time limit for the first piece, in units of `hang_seconds`.
    later: the same for later pieces.
  """

  doing: str
  look_at: str
  first: float = 1.0
  later: float = 1.0


_DATA_DISK = 'the disk with the data'
_RUN_DISK = 'the disk of the run folder'
DATA = Work('waiting for data', _DATA_DISK, _PATIENCE)
READING = Work('reading a checkpoint', _RUN_DISK, _PATIENCE)
SAVING = Work('writing a checkpoint', _RUN_DISK)
WRITING = Work('writing results', _RUN_DISK)
TRACING = Work('writing a trace', _RUN_DISK, _PATIENCE)
SCORING = Work(
  'scoring captions and images', f'its devices and {_DATA_DISK}', _PATIENCE
)
# Anything else; its usual duration is not known.
OTHER = Work('doing the same work', 'its machine', _PATIENCE, _PATIENCE)


class Watch:
  """Ends this process of a multi-process run if its own work hangs.

  A piece of work may take the given time, or five times the longest piece so
  far if that is more.
  """

  def __init__(self, seconds: float) -> None:
    """Sets the seconds that a piece of work may take; 0: no limit."""
    self._seconds = seconds
    self._longest: dict[Work, float] = {}
    self._now: _Alarm | None = None  # The active one; one at a time.

  @contextmanager
  def during(
    self, work: Work, num_bytes: int = 0
  ) -> Iterator[Callable[[], None]]:
    """Watches the block, except for blocks inside it that are watched.

    It must not wait for other processes, except inside `waiting`.

    Args:
      work: the kind of work. The longest piece of the last block counts, not
        of all blocks, so that a compilation is forgotten.
      num_bytes: bytes that are read or written; they add to the time limit.
    Yields:
      a function to call when a piece is done and the next one begins.
    """
    if not self._is_on():
      yield lambda: None
      return
    alarm = self._alarm(
      work,
      work not in self._longest,
      num_bytes / _LEAST_SPEED,
      self._longest.get(work, 0.0),
    )
    try:
      with self._set(alarm):
        yield alarm.restart
    finally:
      self._longest[work] = alarm.longest

  def each(self, work: Work, items: Iterator[_Item]) -> Iterator[_Item]:
    """Yields the items; producing each of them is a piece of work.

    Args:
      work: the kind of work. The first item does not count as the longest.
      items: must not wait for other processes, which may be the ones that hang.
    """
    if not self._is_on():
      yield from items
      return
    for number in itertools.count():
      if number < 2:
        alarm = self._alarm(work, number == 0)
      try:
        with self._set(alarm):
          item = next(items)
      except StopIteration:
        return
      yield item

  def waiting(self) -> AbstractContextManager[None]:
    """Suspends watching inside the block, which waits for other processes."""
    return self._set(None)

  @contextmanager
  def _set(self, alarm: '_Alarm | None') -> Iterator[None]:
    """Makes this the only active alarm inside the block."""
    before, self._now = self._now, alarm
    if before is not None:
      before.clear()
    if alarm is not None:
      alarm.set()
    try:
      yield
    finally:
      self._now = before
      if alarm is not None:
        alarm.clear()
      if before is not None:
        before.set()

  def _is_on(self) -> bool:
    return jax.process_count() > 1 and self._seconds > 0

  def _alarm(
    self, work: Work, is_first: bool, extra: float = 0.0, longest: float = 0.0
  ) -> '_Alarm':
    least = self._seconds * (work.first if is_first else work.later)
    return _Alarm(work, least + extra, longest)


# For work that no other process waits for.
UNWATCHED = Watch(0)


class _Alarm:
  """Ends the process unless it is cleared in time.

  Attributes:
    longest: seconds of the longest piece so far.
  """

  def __init__(self, work: Work, least: float, before: float = 0.0) -> None:
    self.longest = 0.0
    self._work, self._least, self._before = work, least, before

  def set(self) -> None:
    """Starts a piece of work."""
    limit = max(self._least, _SLOWER * max(self._before, self.longest))
    self._start = time.monotonic()
    self._timer = threading.Timer(limit, _end, (self._work, limit))
    self._timer.daemon = True
    self._timer.start()

  def clear(self) -> None:
    """Ends it."""
    self._timer.cancel()
    self.longest = max(self.longest, time.monotonic() - self._start)

  def restart(self) -> None:
    """Ends a piece and starts the next one."""
    self.clear()
    self.set()


def _end(work: Work, seconds: float) -> None:
  print(
    f'tagsdc: process {jax.process_index()} of {jax.process_count()} '
    f'(numbered from 0) has been {work.doing} for {seconds:.0f} s and '
    f'exits; check {work.look_at}, or raise hang_seconds; the last saved '
    'state is intact, run the same command again to continue',
    file=sys.stderr,
    flush=True,
  )
  os._exit(HUNG)
