"""The training loop of all phases: next batch, step, hooks. No math."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax

from tagsdc_jax import arrays, errors
from tagsdc_jax.runtime import parallel, watchdog
from tagsdc_jax.training import device_feed, state

# (updates done, metrics of that update on the host)
Report = Callable[[int, dict[str, float]], None]


class Hook(Protocol):
  """A function that is called with the state after some of the updates."""

  def is_due(self, update: int) -> bool:
    """Returns whether the hook must be called after this update.

    Before the first update, `update` is the number of updates already done.
    """

  def __call__(
    self, update: int, train_state: state.TrainState, is_stopping: bool
  ) -> None:
    """Runs the hook, which must not keep a reference to the state.

    After the last update of a run that stops early, all hooks are called, due
    or not, with `is_stopping` set.
    """


@dataclasses.dataclass
class _Running:
  """An update that is running on the devices."""

  update: int
  metrics: dict[str, jax.Array]
  votes: jax.Array


@dataclasses.dataclass
class _Clock:
  """Measures the seconds since the last report and how they were spent."""

  feed: device_feed.Feed
  start: float = dataclasses.field(default_factory=time.perf_counter)
  hooks: float = 0.0

  def read(self) -> dict[str, float]:
    """Returns the seconds as metrics and resets them to zero."""
    now, feed = time.perf_counter(), self.feed
    values = {
      'seconds': now - self.start,
      'seconds_input': feed.seconds,
      'seconds_hooks': self.hooks,
      'input_late': float(feed.is_late),
    }
    self.start, self.hooks = now, 0.0
    feed.seconds, feed.is_late = 0.0, False
    return values


def run(
  programs: device_feed.Programs | None,
  train_state: state.TrainState,
  batches: Iterator[arrays.MicroBatch],
  *,
  devices: list[jax.Device],
  first_update: int,
  last_update: int,
  report: Report,
  hooks: Sequence[Hook],
  is_stopping: Callable[[], bool],
  explain: Callable[[int], str],
  watch: watchdog.Watch = watchdog.UNWATCHED,
) -> tuple[state.TrainState, int]:
  """Runs updates first_update + 1 to last_update, unless asked to stop.

  Metrics are read one update late, so the devices never wait for the host. Only
  when a hook is due are all metrics read before the next update. All processes
  must call this function with the same updates and hooks; they stop at the same
  update, soon after one of them is asked to stop.

  Args:
    programs: the update; None only if there are no updates to run.
    train_state: replicated over `devices`.
    batches: host arrays, one item per slice of an update.
    devices: of all processes.
    first_update: the number of updates already done.
    last_update: the number of the last update.
    report: called with the metrics of every update, in order, before the
      hooks of that update.
    hooks: called in order when due, possibly before the first update too.
    is_stopping: returns whether this process has been asked to stop.
    explain: describes the micro-batch of a given number, for the error message
      if its loss is not finite.
    watch: ends a process whose report or hook hangs while others wait for it.
  Returns:
    The last state, replicated, and the number of updates done.
  Raises:
    UserError: if a loss is not finite. No hook is called with that state.
  """
  vote = parallel.make_vote(devices)
  feed = device_feed.Feed(batches, devices)
  clock = _Clock(feed)

  def finish(running: _Running) -> bool:
    """Waits for an update and reports it; returns whether to stop."""
    host = parallel.first((running.metrics, running.votes))
    values = {k: float(v) for k, v in host[0].items()}
    _check_finite(running.update, values, explain)
    with watch.during(watchdog.OTHER):
      report(running.update, values | clock.read())
    return bool(host[1])

  def call(update: int, ends: bool) -> None:
    start = time.perf_counter()
    for hook in hooks:
      if ends or hook.is_due(update):
        with watch.during(watchdog.OTHER):
          hook(update, train_state, ends)
    clock.hooks += time.perf_counter() - start

  call(first_update, False)
  if programs is None or first_update >= last_update:
    return train_state, first_update
  late: _Running | None = None
  for update in range(first_update + 1, last_update + 1):
    train_state, metrics = device_feed.run_update(programs, train_state, feed)
    running = _Running(update, metrics, vote(is_stopping()))
    stops = late is not None and finish(late)
    feed.ran(metrics['loss'])
    late = running
    if (
      stops
      or update == last_update
      or any(hook.is_due(update) for hook in hooks)
    ):
      stops = finish(running) or stops
      late = None
      call(update, stops and update < last_update)
      if stops:
        return train_state, update
  return train_state, last_update


def _check_finite(
  update: int, values: dict[str, Any], explain: Callable[[int], str]
) -> None:
  """Removes `bad_micro_batch` from the metrics; raises if there is one."""
  bad = int(values.pop('bad_micro_batch'))
  if math.isfinite(values['loss']) and math.isfinite(values['gradient_norm']):
    return
  parts = ', '.join(f'{k} {v:g}' for k, v in values.items())
  problem = (
    f'the loss of update {update} is not finite, first in {explain(bad)}'
    if bad >= 0
    else f'the losses of update {update} are finite, but the gradient is not'
  )
  raise errors.UserError(
    f'{problem} ({parts}); lower '
    'optimizer.learning_rate, or inspect these examples; the last '
    'checkpoint predates this, and the same command resumes from it'
  )
