"""Progress lines with the remaining time, for long passes."""

import contextlib
import sys
import time
from typing import Any, Callable, Iterator

# Seconds until the first line; later intervals grow with the elapsed time.
_FIRST, _GROWTH = 10.0, 0.25


def say(text: str) -> None:
  """Prints a line for the user to stderr."""
  print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
  """Returns seconds as text, for instance `4 s` or `2 min 05 s`."""
  minutes, rest = divmod(int(round(seconds)), 60)
  return (
    '{} min {:02} s'.format(minutes, rest) if minutes else '{} s'.format(rest)
  )


class Progress:
  """Counts the rows that went through the network and prints progress."""

  def __init__(
    self, name: str, total: int, clock: Callable[[], float] = time.time
  ) -> None:
    """Starts the clock.

    Args:
      name: what is being computed.
      total: the total number of rows.
      clock: returns the time in seconds.
    """
    self._name, self._total, self._clock = name, total, clock
    self._done = 0.0
    self._start = clock()
    self._due = self._start + _FIRST

  def advance(self, rows: float) -> None:
    """Counts rows, and prints a line if one is due."""
    self._done += rows
    now = self._clock()
    passed = now - self._start
    if now >= self._due and self._done < self._total:
      self._due = now + max(_FIRST, _GROWTH * passed)
      left = (self._total - self._done) * passed / self._done
      say(
        '{}: {:,} of {:,} rows, {} left'.format(
          self._name, int(self._done), self._total, duration(left)
        )
      )

  def close(self) -> None:
    """Prints the total time."""
    say('{}: {}'.format(self._name, duration(self._clock() - self._start)))


@contextlib.contextmanager
def counting(progress: Progress, layers: Any) -> Iterator[None]:
  """Advances a Progress with every layer of an encoder.

  A pass of n rows counts as n in total over all layers, so that long passes are
  reported while they run.

  Args:
    progress: the Progress to advance; closed at the end.
    layers: the encoder's layers, a torch.nn.ModuleList.
  """

  def advance(module: Any, inputs: Any, output: Any) -> None:
    del module, inputs
    progress.advance(len(output) / len(layers))

  hooks = [layer.register_forward_hook(advance) for layer in layers]
  try:
    yield
  finally:
    for hook in hooks:
      hook.remove()
  progress.close()
