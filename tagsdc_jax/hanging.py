"""Work that never ends: a process of several that hangs says so and ends.

The runtime notices when a process or its machine has died, but not when its
threads live and it only never goes on; all others would wait for it. Which of
them hangs only that one can tell: those that wait for it are in the middle of
an update, or of agreeing on something. So each watches the work that it does
alone, and nothing that waits for others.
"""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import jax

# Exit code of such a process.
HUNG = 4
# What is slow anyhow may take this many times its longest so far.
_SLOWER = 5.0
# Compiling, and reading what nothing is in memory of yet, may take this many
# times as long as what comes after.
_FIRST = 20.0
# Disks are taken to write and read as many bytes per second at least.
_LEAST_SPEED = 4e6
_Item = TypeVar('_Item')


class Work(NamedTuple):
  """What a process does alone.

  Attributes:
    doing: for the line.
    look_at: what may be wrong, for the line.
    is_slow_at_first: whether the first time is no measure.
  """
  doing: str
  look_at: str
  is_slow_at_first: bool = False


DATA = Work('waiting for data', 'the disk that the data lies on', True)
READING = Work('reading a checkpoint', 'the disk of the run folder', True)
SAVING = Work('writing a checkpoint', 'the disk of the run folder')
WRITING = Work('writing results', 'the disk of the run folder')
TRACING = Work('writing a trace', 'the disk of the run folder', True)
SCORING = Work('scoring captions and images',
               'its devices and the disk that the data lies on', True)


class Watch:
  """Ends this process, one of several, where its own work never ends.

  A piece of work may take as long as is given, or five times the longest
  before if that is more.
  """

  def __init__(self, seconds: float) -> None:
    """Makes one that gives a piece of work so many seconds; 0: for ever."""
    self._seconds = seconds
    self._longest: dict[Work, float] = {}

  @contextmanager
  def during(self, work: Work, num_bytes: int = 0
             ) -> Iterator[Callable[[], None]]:
    """Watches what is done inside; it must not wait for other processes.

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
    least = (self._least(work, work not in self._longest)
             + num_bytes / _LEAST_SPEED)
    alarm = _Alarm(work, least, self._longest.get(work, 0.0))
    alarm.set()
    try:
      yield alarm.set_anew
    finally:
      alarm.clear()
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
        alarm = _Alarm(work, self._least(work, number == 0))
      alarm.set()
      try:
        item = next(items)
      except StopIteration:
        return
      finally:
        alarm.clear()
      yield item

  def _is_on(self) -> bool:
    return jax.process_count() > 1 and self._seconds > 0

  def _least(self, work: Work, is_first: bool) -> float:
    return self._seconds * (
        _FIRST if is_first and work.is_slow_at_first else 1)


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
  print(f'tagsdc: process {jax.process_index()} of {jax.process_count()} '
        f'(numbered from 0) has been {work.doing} for {seconds:.0f} s and '
        f'ends; look at {work.look_at}, or raise hang_seconds; what was saved '
        'last is there, give the same command again to continue',
        file=sys.stderr, flush=True)
  os._exit(HUNG)
