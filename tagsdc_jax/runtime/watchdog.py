"""Work that never ends: a process of several that hangs says so and ends.

The runtime notices when a process or its machine has died, but not when its
threads live and it only never goes on; all others would wait for it. Which of
them hangs only that one can tell, for those that wait for it are in the middle
of an update, or of agreeing on something. So each watches the work that it
does alone, and nothing that waits for others.
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

# Exit code of such a process.
HUNG = 4
# What is slow anyhow may take this many times its longest so far.
_SLOWER = 5.0
# Compiling, and reading what nothing is in memory of yet, may take this many
# times as long as what comes after.
_PATIENCE = 20.0
# Disks are taken to write and read as many bytes per second at least.
_LEAST_SPEED = 4e6
_Item = TypeVar('_Item')


class Work(NamedTuple):
  """What a process does alone.

  Attributes:
    doing: for the line.
    look_at: what may be wrong, for the line.
    first: how long it may take the first time, in `hang_seconds`.
    later: the same from then on.
  """

  doing: str
  look_at: str
  first: float = 1.0
  later: float = 1.0


_DATA_DISK = 'the disk that the data lies on'
_RUN_DISK = 'the disk of the run folder'
DATA = Work('waiting for data', _DATA_DISK, _PATIENCE)
READING = Work('reading a checkpoint', _RUN_DISK, _PATIENCE)
SAVING = Work('writing a checkpoint', _RUN_DISK)
WRITING = Work('writing results', _RUN_DISK)
TRACING = Work('writing a trace', _RUN_DISK, _PATIENCE)
SCORING = Work(
  'scoring captions and images', f'its devices and {_DATA_DISK}', _PATIENCE
)
# What none of these is: it is not known how long it should take.
OTHER = Work('at the same work', 'its machine', _PATIENCE, _PATIENCE)


class Watch:
  """Ends this process, one of several, where its own work never ends.

  A piece of work may take as long as is given, or five times the longest
  before if that is more.
  """

  def __init__(self, seconds: float) -> None:
    """Makes one that gives a piece of work so many seconds; 0: for ever."""
    self._seconds = seconds
    self._longest: dict[Work, float] = {}
    self._now: _Alarm | None = None  # Which is set; one at a time.

  @contextmanager
  def during(
    self, work: Work, num_bytes: int = 0
  ) -> Iterator[Callable[[], None]]:
    """Watches what is done inside, but for what is watched further inside.

    It must not wait for other processes, unless `waiting` says so.

    Args:
      work: what it is. The longest piece of the last time counts, not of all,
        so that what was compiled once is forgotten.
      num_bytes: how much it reads or writes; time is added for them.
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
        yield alarm.set_anew
    finally:
      self._longest[work] = alarm.longest

  def each(self, work: Work, items: Iterator[_Item]) -> Iterator[_Item]:
    """Yields the items; each of them is a piece of work.

    Args:
      work: what it is. The first item does not count as the longest.
      items: must not wait for other processes: one hangs, not all.
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
    """Inside, other processes are waited for: nothing is watched."""
    return self._set(None)

  @contextmanager
  def _set(self, alarm: '_Alarm | None') -> Iterator[None]:
    """Inside, this alarm is set and no other."""
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


# For what nobody waits for.
UNWATCHED = Watch(0)


class _Alarm:
  """Ends the process unless it is cleared in time.

  Attributes:
    longest: seconds that a piece took at most, this time.
  """

  def __init__(self, work: Work, least: float, before: float = 0.0) -> None:
    self.longest = 0.0
    self._work, self._least, self._before = work, least, before

  def set(self) -> None:
    """Begins a piece of work."""
    limit = max(self._least, _SLOWER * max(self._before, self.longest))
    self._start = time.monotonic()
    self._timer = threading.Timer(limit, _end, (self._work, limit))
    self._timer.daemon = True
    self._timer.start()

  def clear(self) -> None:
    """Ends it."""
    self._timer.cancel()
    self.longest = max(self.longest, time.monotonic() - self._start)

  def set_anew(self) -> None:
    """Ends a piece and begins the next one."""
    self.clear()
    self.set()


def _end(work: Work, seconds: float) -> None:
  print(
    f'tagsdc: process {jax.process_index()} of {jax.process_count()} '
    f'(numbered from 0) has been {work.doing} for {seconds:.0f} s and '
    f'ends; look at {work.look_at}, or raise hang_seconds; what was saved '
    'last is there, give the same command again to continue',
    file=sys.stderr,
    flush=True,
  )
  os._exit(HUNG)
