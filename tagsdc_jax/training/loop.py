"""The only training loop: next batch, step, hooks. No maths."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from tagsdc_jax import arrays, errors, parallel
from tagsdc_jax.training import state

Step = Callable[[state.TrainState, arrays.MicroBatch],
                tuple[state.TrainState, dict[str, jax.Array]]]
# (updates done, replicated state, metrics of that update on the host)
Hook = Callable[[int, state.TrainState, dict[str, float]], None]


def run(step: Step, train_state: state.TrainState,
        batches: Iterator[arrays.MicroBatch], *, devices: list[jax.Device],
        first_update: int, last_update: int,
        hooks: Sequence[Hook]) -> state.TrainState:
  """Runs updates first_update + 1 to last_update.

  The next batch is taken from the loader and sent to the devices while they
  still work on this one; metrics are read when the device has them.

  Args:
    step: from `parallel.pmap_step`; its first argument is donated.
    train_state: replicated.
    batches: host arrays, one item per update.
    devices: this process's.
    first_update: updates done already.
    last_update: where to stop.
    hooks: called in order after every update. They must not keep the state.
  Returns:
    the last state, replicated.
  """
  if first_update >= last_update:
    return train_state
  batch = parallel.put(next(batches), devices)
  for update in range(first_update + 1, last_update + 1):
    start = time.perf_counter()
    train_state, metrics = step(train_state, batch)
    if update < last_update:
      batch = parallel.put(next(batches), devices)
    waited = time.perf_counter() - start
    values = {k: float(v) for k, v in parallel.first(metrics).items()}
    values['seconds'] = time.perf_counter() - start
    values['seconds_input'] = waited
    _check_finite(update, values)
    for hook in hooks:
      hook(update, train_state, values)
  return train_state


def _check_finite(update: int, values: dict[str, Any]) -> None:
  if not values['loss'] - values['loss'] == 0:
    parts = ', '.join(f'{k} {v:g}' for k, v in values.items())
    raise errors.UserError(
        f'the loss of update {update} is not finite ({parts}); lower '
        'optimizer.learning_rate, or continue from the last checkpoint')
