"""Human-readable progress: what is being done, how far it is, time left.

A terminal gets a bar, a log file a line now and then. Short work shows nothing.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tqdm import tqdm

from tagsdc_jax.runtime import timer

# Seconds until the first line in a log file; later intervals grow.
_FIRST, _GROWTH, _LONGEST = 10.0, 1.5, 900.0
_AT_ONCE = 2.0


class _Lines:
  """Replaces tqdm's bar where lines cannot be redrawn."""

  delay = 0.0

  def __init__(
    self, total: int, description: str, unit: str, initial: int
  ) -> None:
    self._total, self._description, self._unit = total, description, unit
    self._initial = self._done = initial
    self._note = ''
    self._start = time.monotonic()
    self._next = _FIRST

  def update(self, count: int = 1) -> None:
    """Advances the count, and writes a line if one is due."""
    self._done += count
    if time.monotonic() - self._start >= self._next:
      self.tell()

  def tell(self) -> None:
    """Writes a line now, unless finished, and postpones the next one."""
    if self._done >= self._total:
      return
    seconds = time.monotonic() - self._start
    self._next = seconds + min(seconds * (_GROWTH - 1) + _FIRST, _LONGEST)
    left = (
      (self._total - self._done) * seconds / max(self._done - self._initial, 1)
    )
    self._write(f'{tqdm.format_interval(left)} left')

  def set_postfix_str(self, note: str, refresh: bool = True) -> None:
    """Sets the note at the end of the next line."""
    del refresh
    self._note = note

  def refresh(self) -> None:
    """Writes a line if nothing is counted yet, as during compilation."""
    if self._done == self._initial:
      self._write('')

  def close(self) -> None:
    """Writes the last line, unless the work was short."""
    seconds = time.monotonic() - self._start
    if seconds >= _AT_ONCE:
      word = 'took' if self._done >= self._total else 'stopped after'
      self._write(f'{word} {tqdm.format_interval(seconds)}')

  def _write(self, text: str) -> None:
    words = [
      f'{self._description}: {self._done:,} of {self._total:,} {self._unit}',
      text,
      self._note,
    ]
    _print(', '.join(word for word in words if word))


@contextmanager
def progress_bar(
  total: int,
  description: str,
  unit: str,
  initial: int = 0,
  is_shown: bool = True,
) -> Iterator[tqdm | _Lines]:
  """Yields a bar with rate and time left; silent if done within a second.

  Args:
    total: the count at the end.
    description: what is being done.
    unit: of the count.
    initial: the count at the start.
    is_shown: False in processes that print nothing.
  """
  bar: tqdm | _Lines
  if not is_shown:
    yield tqdm(disable=True)
    return
  if sys.stderr.isatty():
    # Time left by the mean rate, because validations are occasional.
    bar = tqdm(
      total=total,
      desc=description,
      unit=unit,
      initial=initial,
      delay=1.0,
      mininterval=0.5,
      unit_scale=total > 100_000,
      smoothing=0,
      **_width(),
    )
  else:
    bar = _Lines(total, description, unit, initial)
  try:
    with timer.after(_AT_ONCE, lambda: _show(bar)):
      yield bar
  finally:
    bar.close()


def tell(bar: Any) -> None:
  """Writes a line to a log file; a bar in a terminal is always up to date."""
  if isinstance(bar, _Lines):
    bar.tell()


@contextmanager
def waiting(description: str) -> Iterator[None]:
  """Prints what is awaited, and then how long it took; silent if short.

  Args:
    description: what is being done, and how long it usually takes.
  """
  start = time.monotonic()
  is_shown = threading.Event()

  def show() -> None:
    is_shown.set()
    _print(f'{description} ...', end='')

  try:
    with timer.after(_AT_ONCE, show):
      yield
  finally:
    if is_shown.is_set():
      _print(f' {time.monotonic() - start:.0f} s')


def _print(text: str, end: str = '\n') -> None:
  # A closed log (`2>&1 | head`) or a full disk must not end the work.
  with suppress(OSError):
    print(text, end=end, file=sys.stderr, flush=True)


def _width() -> dict[str, Any]:
  """Returns tqdm's settings for a bar as wide as the terminal."""
  try:
    columns = os.get_terminal_size(sys.stderr.fileno()).columns
  except (OSError, ValueError):
    columns = 0
  # Terminals of containers may report zero columns.
  return {'dynamic_ncols': True} if columns else {'ncols': 80}


def _show(bar: tqdm | _Lines) -> None:
  bar.delay = 0  # For tqdm: the bar is shown now, so close() draws it.
  bar.refresh()
