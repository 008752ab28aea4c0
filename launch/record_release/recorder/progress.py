"""Lines with the time left, for passes that take long."""

import sys
import time
from typing import Any
from typing import Callable

# Seconds between two lines.
_PAUSE = 10.0


def say(text: str) -> None:
  """Writes a line for the user."""
  print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
  """Returns seconds as words, for instance `4 s` or `2 min 05 s`."""
  minutes, rest = divmod(int(round(seconds)), 60)
  return '{} min {:02} s'.format(minutes, rest) if minutes else '{} s'.format(
      rest)


class Progress:
  """Counts rows that went through the network; says how far it is."""

  def __init__(self, name: str, total: int,
               clock: Callable[[], float] = time.time) -> None:
    """Starts the clock.

    Args:
      name: what is being done.
      total: rows to come.
      clock: gives seconds.
    """
    self._name, self._total, self._clock = name, total, clock
    self._done = 0.0
    self._start = self._last = clock()

  def advance(self, rows: float) -> None:
    """Counts rows, and writes a line if one is due."""
    self._done += rows
    now = self._clock()
    if now - self._last >= _PAUSE and self._done < self._total:
      self._last = now
      left = (self._total - self._done) * (now - self._start) / self._done
      say('{}: {:,} of {:,} rows, {} left'.format(
          self._name, int(self._done), self._total, duration(left)))

  def close(self) -> None:
    """Writes how long it took."""
    say('{}: {}'.format(self._name, duration(self._clock() - self._start)))


class counting:
  """Context in which every layer of an encoder advances a Progress."""

  def __init__(self, progress: Progress, layers: Any) -> None:
    """Takes the encoder's layers, a torch.nn.ModuleList.

    A pass of n rows counts n when all layers have seen it, so that long
    passes are reported while they run.
    """
    self._progress, self._layers = progress, layers
    self._hooks: list = []

  def __enter__(self) -> None:
    count = len(self._layers)

    def advance(module: Any, inputs: Any, output: Any) -> None:
      del module, inputs
      self._progress.advance(len(output) / count)

    self._hooks = [layer.register_forward_hook(advance)
                   for layer in self._layers]

  def __exit__(self, *error: Any) -> None:
    for hook in self._hooks:
      hook.remove()
    if error[0] is None:
      self._progress.close()
