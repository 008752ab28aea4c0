"""Signals that ask to leave: nothing is lost, and the exit code is kept.

Schedulers send SIGTERM, or what they were told to (`#SBATCH --signal=USR1@60`),
before they take a machine away, often several times, and soon after that kill.
A terminal that is closed sends SIGHUP.
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
# Exit code of a run that was asked to leave, 0 if not set. Schedulers that take
# 0 for the end of the training need another one.
CODE = 'TAGSDC_STOPPED_CODE'
# Functions that run while Python collects garbage, and seconds until they have
# ended.
_CALLED_BY_PYTHON = ('__del__', '_xla_gc_callback')
_AGAIN = 0.02


def exit_code(environment: Mapping[str, str] = os.environ) -> int:
  """Returns the exit code of a run that was asked to leave.

  Raises:
    UserError: if the environment names none that a process can have.
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
  """Ignores the signals from now on: the exit code is that of the work done.

  Not a function that does nothing: Python takes those away as it ends. Ctrl-C
  ends at once what is left, without a traceback.
  """
  for number in SIGNALS:
    signal.signal(number, signal.SIG_IGN)
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(code: int) -> NoReturn:
  """Ends the process where work was broken off.

  XLA compiles in threads of its own. What it has begun there goes on, and as
  Python ends it would be waited for, and then meet a client that is gone: a
  segmentation fault in the place of the exit code.
  """
  for stream in (sys.stdout, sys.stderr):
    with suppress(OSError, ValueError):
      stream.flush()
  os._exit(code)


class Notice:
  """Whether this process was asked to leave.

  A notice ends what is being done by an exception, but for what `deferring`
  keeps. Where an answer would take too long (a compilation, an update of a
  minute) a thread ends the process: what lies on disk is whole at any time.
  """

  def __init__(
    self, seconds: float, line: str, code: int | None = None
  ) -> None:
    """Makes one that listens inside `listening`.

    Args:
      seconds: from the signal to leaving at the latest.
      line: how to continue, for the user.
      code: exit code of who leaves; None: as the signal would end it.
    """
    self.is_given = False
    self._seconds, self._line, self._code = seconds, line, code
    self._interrupts, self._number = True, 0

  @contextmanager
  def listening(self) -> Iterator[None]:
    """Takes the signals while inside; only the main thread can.

    Those that the parent has had ignored stay so, as SIGHUP under `nohup`.
    After a notice further ones are ignored, also when the block has ended.
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
    """Returns what to raise, which ends with how to continue."""
    return errors.Stopped(f'{text}; {self._line}', self._exit_code())

  @contextmanager
  def deferring(self) -> Iterator[None]:
    """Inside, a notice only sets `is_given`: something is unsaved."""
    before, self._interrupts = self._interrupts, False
    try:
      yield
    finally:
      self._interrupts = before

  @contextmanager
  def interrupting(self) -> Iterator[None]:
    """Inside, where nothing is unsaved, a notice ends the block.

    Raises:
      Stopped: at once if asked before, or whenever asked.
    """
    if self.is_given:
      raise self.stopped('asked to leave')
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
      raise self.stopped('asked to leave')

  def _exit_code(self) -> int:
    return 128 + self._number if self._code is None else self._code

  def _watch(
    self, readable: int, numbers: set[int], ended: threading.Event
  ) -> None:
    """Ends the process if the main thread does not answer in time."""
    with open(readable, 'rb', buffering=0) as signals:
      while byte := signals.read(1):
        if byte[0] in numbers and not ended.wait(self._seconds):
          self._number = self._number or byte[0]
          try:
            print(
              'tagsdc: asked to leave, and an answer took too long; what '
              f'was saved last is there; {self._line}',
              file=sys.stderr,
              flush=True,
            )
          finally:  # The terminal may be gone.
            os._exit(self._exit_code())


def _swallows(frame: FrameType | None) -> bool:
  """Returns whether an exception raised here would be shown and forgotten."""
  while frame is not None:
    if frame.f_code.co_name in _CALLED_BY_PYTHON:
      return True
    frame = frame.f_back
  return False


def _drop(terminals: list[int]) -> None:
  """Writes to nowhere from now on: the terminal is gone."""
  nowhere = os.open(os.devnull, os.O_WRONLY)
  for file in terminals:
    os.dup2(nowhere, file)
  os.close(nowhere)
