"""Sends inputs to the devices and starts the updates that consume them."""

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from tagsdc_jax import arrays
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import state

Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Programs:
  """The compiled functions of an update on all devices; see `training.step`.

  Attributes:
    step: (state, the update's inputs, or the sums over their slices) ->
      (state, metrics); the state is donated.
    start: state -> empty sums; None unless inputs come in slices.
    accumulate: (sums, state, slice) -> (sums, a scalar to wait for); the sums
      are donated; None unless inputs come in slices.
    num_slices: number of slices per update.
  """

  step: Callable
  start: Callable | None = None
  accumulate: Callable | None = None
  num_slices: int = 1


class Feed:
  """Prefetches inputs: sends the next ones while the devices are computing.

  The devices never hold more than these two sets of inputs.
  """

  def __init__(
    self, batches: Iterator[arrays.MicroBatch], devices: list[jax.Device]
  ) -> None:
    """`batches` are host arrays, `devices` those of all processes."""
    self._batches, self._devices = batches, devices
    self._running: collections.deque[jax.Array] = collections.deque()
    self._next: Any = None
    self.seconds = 0.0  # Time spent reading and sending.
    self.is_late = False  # Whether the devices had to wait for inputs.

  def take(self) -> Any:
    """Returns the next inputs on the devices."""
    if self._next is None:
      self._send()
    batch, self._next = self._next, None
    return batch

  def ran(self, result: jax.Array) -> None:
    """Sends the next inputs, if there are more.

    Args:
      result: a scalar that the program computes from the inputs taken last.
    """
    self._running.append(result)
    while len(self._running) > 1:
      jax.block_until_ready(self._running.popleft())
    self._send()
    self.is_late |= self._next is not None and parallel.is_ready(result)

  def _send(self) -> None:
    start = time.perf_counter()
    batch = next(self._batches, None)
    self._next = None if batch is None else parallel.put(batch, self._devices)
    self.seconds += time.perf_counter() - start


def run_update(
  programs: Programs, train_state: state.TrainState, feed: Feed
) -> tuple[state.TrainState, Metrics]:
  """Starts an update; the caller then passes a metric to `feed.ran`."""
  if programs.accumulate is None or programs.start is None:
    return programs.step(train_state, feed.take())
  sums = programs.start(train_state)
  for number in range(programs.num_slices):
    sums, done = programs.accumulate(sums, train_state, feed.take())
    if number < programs.num_slices - 1:
      feed.ran(done)
  return programs.step(train_state, sums)
