"""The only training loop: next batch, step, hooks. No maths."""

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
  """What is done with the state after some updates."""

  def is_due(self, update: int) -> bool:
    """Returns whether it is to be called after this update.

    Before the first update it is asked for the number of those done already.
    """

  def __call__(
    self, update: int, train_state: state.TrainState, is_stopping: bool
  ) -> None:
    """Acts; must not keep the state.

    The last update before an early end comes to all hooks, due or not, with
    `is_stopping`.
    """


@dataclasses.dataclass
class _Running:
  """An update that the devices work on."""

  update: int
  metrics: dict[str, jax.Array]
  votes: jax.Array


@dataclasses.dataclass
class _Clock:
  """Seconds since the last report, and what part went where."""

  feed: device_feed.Feed
  start: float = dataclasses.field(default_factory=time.perf_counter)
  hooks: float = 0.0

  def read(self) -> dict[str, float]:
    """Returns them as metrics, and starts again at zero."""
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

  Metrics are read one update late, so that the devices never wait for the
  host; only where a hook is due everything is read before the next update.
  All processes must call it with the same updates and hooks; they stop at the
  same update, soon after one of them is asked to.

  Args:
    programs: the update; None only if there is none to do.
    train_state: replicated over `devices`.
    batches: host arrays, one item per slice of an update.
    devices: of all processes.
    first_update: updates done already.
    last_update: where to stop.
    report: called with the metrics of every update, in order, before the
      hooks of that update.
    hooks: called in order where they are due, also before the first update.
    is_stopping: whether this process is asked to stop.
    explain: number of a micro-batch whose loss is not finite -> what it holds.
    watch: ends a process of several whose report or hook hangs.
  Returns:
    the last state, replicated, and how many updates are done.
  Raises:
    UserError: if a loss is not finite. No hook has seen that state.
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
  where = (
    f'its first in {explain(bad)}'
    if bad >= 0
    else ('the losses are finite, the gradient is not')
  )
  raise errors.UserError(
    f'the loss of update {update} is not finite, {where} ({parts}); lower '
    'optimizer.learning_rate, or look at these examples; the last '
    'checkpoint is from before, and the same command continues from it'
  )
