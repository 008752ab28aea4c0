"""SIGTERM, and maintenance notices that come as such: save, then leave.

Schedulers send it before they take a machine away, and soon after that kill.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tagsdc_jax import errors

# Exit code of a run that was asked to leave, 0 if not set. Schedulers that take
# 0 for the end of the training need another one.
CODE = 'TAGSDC_STOPPED_CODE'


def exit_code() -> int:
  """Returns the exit code of a run that was asked to leave."""
  text = os.environ.get(CODE, '')
  return int(text) if text.isdecimal() else 0


class Notice:
  """Whether this process was asked to leave.

  Where an answer would take too long (a compilation, an update of a minute) a
  thread ends the process: what lies on disk is whole at any time.
  """

  def __init__(self, seconds: float, line: str) -> None:
    """Makes one that listens inside `listening`.

    Args:
      seconds: from the signal to leaving at the latest.
      line: how to continue, for the user.
    """
    self.is_given = False
    self._seconds, self._line = seconds, line
    self._interrupts = False

  @contextmanager
  def listening(self) -> Iterator[None]:
    """Takes the signal while inside; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
      yield
      return
    before = signal.signal(signal.SIGTERM, self._take)
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    wakeup = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    ended = threading.Event()
    threading.Thread(target=self._watch, args=(readable, ended),
                     daemon=True).start()
    try:
      yield
    finally:
      ended.set()
      signal.set_wakeup_fd(wakeup)
      signal.signal(signal.SIGTERM, before)
      os.close(writable)  # Ends the thread.

  @contextmanager
  def interrupting(self) -> Iterator[None]:
    """Inside, where nothing is unsaved, a notice ends the block.

    Raises:
      Stopped: at once if asked before, or whenever asked.
    """
    if self.is_given:
      raise errors.Stopped(self._line)
    self._interrupts = True
    try:
      yield
    finally:
      self._interrupts = False

  def _take(self, number: int, frame: FrameType | None) -> None:
    del number, frame
    self.is_given = True
    if self._interrupts:
      self._interrupts = False
      raise errors.Stopped(self._line)

  def _watch(self, readable: int, ended: threading.Event) -> None:
    """Ends the process if the main thread does not answer in time."""
    with open(readable, 'rb', buffering=0) as signals:
      while byte := signals.read(1):
        if byte[0] == signal.SIGTERM and not ended.wait(self._seconds):
          print(f'tagsdc: asked to leave, and an answer took too long; what '
                f'was saved last is there. {self._line}', file=sys.stderr,
                flush=True)
          os._exit(exit_code())
