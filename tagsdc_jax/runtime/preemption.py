"""Preemption: on a signal, stops without loss and with a defined exit code.

Before they take a machine away, schedulers send SIGTERM or a configured signal
(`#SBATCH --signal=USR1@60`), often several times, and then kill the process. A
terminal that is closed sends SIGHUP.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from tagsdc_jax import errors

SIGNALS = (
  signal.SIGTERM,
  signal.SIGHUP,
  signal.SIGUSR1,
  signal.SIGUSR2,
  signal.SIGXCPU,
)
# Exit code of a run that was asked to stop, 0 if not set. Schedulers that treat
# 0 as the end of training need another one.
CODE = 'TAGSDC_STOPPED_CODE'
# Functions that run during garbage collection, and seconds for them to end.
_CALLED_BY_PYTHON = ('__del__', '_xla_gc_callback')
_AGAIN = 0.02


def exit_code(environment: Mapping[str, str] = os.environ) -> int:
  """Returns the exit code of a run that was asked to stop.

  Raises:
    UserError: if the environment specifies an invalid exit code.
  """
  text = environment.get(CODE, '').strip()
  if not text:
    return 0
  if not (text.isascii() and text.isdecimal()) or int(text) > 255:
    raise errors.UserError(
      f'{CODE} in the environment must be a whole number '
      f'from 0 to 255, got {text!r}'
    )
  return int(text)


def ignore() -> None:
  """Ignores the signals from now on, so that they do not change the exit code.

  SIG_IGN rather than an empty handler, because Python removes handlers as it
  exits. Ctrl-C ends the process at once, without a traceback.
  """
  for number in SIGNALS:
    signal.signal(number, signal.SIG_IGN)
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(code: int) -> NoReturn:
  """Ends the process after work was interrupted.

  XLA compiles in its own threads. A normal exit would wait for a compilation
  that has started, which would then find its client gone: a segmentation fault
  in place of the exit code.
  """
  for stream in (sys.stdout, sys.stderr):
    with suppress(OSError, ValueError):
      stream.flush()
  os._exit(code)


class Notice:
  """Whether this process was asked to stop.

  A notice interrupts the current work with an exception, except inside
  `deferring`. If the reaction would take too long (a compilation, an update of
  a minute), a thread ends the process: files on disk are always complete.
  """

  def __init__(
    self, seconds: float, line: str, code: int | None = None
  ) -> None:
    """Creates a notice; signals are handled inside `listening`.

    Args:
      seconds: from the signal to the exit, at most.
      line: how to continue, for the user.
      code: the exit code after a signal; None: 128 + the signal's number.
    """
    self.is_given = False
    self._seconds, self._line, self._code = seconds, line, code
    self._interrupts, self._number = True, 0

  @contextmanager
  def listening(self) -> Iterator[None]:
    """Handles the signals inside the block; only in the main thread.

    Signals ignored by the parent stay ignored, such as SIGHUP under `nohup`.
    After a notice all further ones are ignored, even after the block.
    """
    if threading.current_thread() is not threading.main_thread():
      yield
      return
    terminals = [file for file in (1, 2) if os.isatty(file)]

    def take(number: int, frame: FrameType | None) -> None:
      if self._interrupts and _swallows(frame):
        again = threading.Timer(
          _AGAIN, signal.pthread_kill, (threading.main_thread().ident, number)
        )
        again.daemon = True
        again.start()
        return
      if number == signal.SIGHUP:
        _drop(terminals)
      self._take(number)

    before = {
      number: signal.signal(number, take)
      for number in SIGNALS
      if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    wakeup = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    ended = threading.Event()
    threading.Thread(
      target=self._watch, args=(readable, set(before), ended), daemon=True
    ).start()
    try:
      yield
    finally:
      ended.set()
      signal.set_wakeup_fd(wakeup)
      for number, handler in before.items():
        if signal.getsignal(number) is take:
          signal.signal(number, signal.SIG_IGN if self.is_given else handler)
      os.close(writable)  # Ends the thread.

  def stopped(self, text: str) -> errors.Stopped:
    """Returns the exception to raise; its text says how to continue."""
    return errors.Stopped(f'{text}; {self._line}', self._exit_code())

  @contextmanager
  def deferring(self) -> Iterator[None]:
    """Makes a notice only set `is_given`, while there is unsaved work."""
    before, self._interrupts = self._interrupts, False
    try:
      yield
    finally:
      self._interrupts = before

  @contextmanager
  def interrupting(self) -> Iterator[None]:
    """Makes a notice end the block, which must have no unsaved work.

    Raises:
      Stopped: at once if there was a notice before, else on a notice.
    """
    if self.is_given:
      raise self.stopped('asked to stop')
    before, self._interrupts = self._interrupts, True
    try:
      yield
    finally:
      self._interrupts = before

  def _take(self, number: int) -> None:
    if self.is_given:
      return
    self.is_given, self._number = True, number
    if self._interrupts:
      raise self.stopped('asked to stop')

  def _exit_code(self) -> int:
    return 128 + self._number if self._code is None else self._code

  def _watch(
    self, readable: int, numbers: set[int], ended: threading.Event
  ) -> None:
    """Ends the process if the main thread does not react in time."""
    with open(readable, 'rb', buffering=0) as signals:
      while byte := signals.read(1):
        if byte[0] in numbers and not ended.wait(self._seconds):
          self._number = self._number or byte[0]
          try:
            print(
              'tagsdc: asked to stop, but the reaction took too long; the '
              f'last saved state is intact; {self._line}',
              file=sys.stderr,
              flush=True,
            )
          finally:  # The terminal may be gone.
            os._exit(self._exit_code())


def _swallows(frame: FrameType | None) -> bool:
  """Returns whether Python would print an exception raised here and drop it."""
  while frame is not None:
    if frame.f_code.co_name in _CALLED_BY_PYTHON:
      return True
    frame = frame.f_back
  return False


def _drop(terminals: list[int]) -> None:
  """Redirects output to the null device: the terminal is gone."""
  nowhere = os.open(os.devnull, os.O_WRONLY)
  for file in terminals:
    os.dup2(nowhere, file)
  os.close(nowhere)
