"""The update on one device, as pure functions: no logging, no I/O."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from tagsdc_jax import arrays, settings
from tagsdc_jax.engines import work
from tagsdc_jax.training import keys, mfu, optimizer, state

Metrics = dict[str, jax.Array]

# The objective to minimize: (params, start_params, batch, keys) -> (loss
# float32 [], (metrics, work)). start_params are the parameters that the phase
# started with, None if not used.
Objective = Callable[
  [Any, Any, arrays.MicroBatch, keys.MicroBatchKeys],
  tuple[jax.Array, tuple[Metrics, work.Work]],
]
Step = Callable[
  [state.TrainState, arrays.MicroBatch], tuple[state.TrainState, Metrics]
]

_NONE = np.iinfo(np.int32).max


@struct.dataclass
class Sums:
  """A device's sums over the micro-batches of an update so far."""

  grads: Any
  metrics: Metrics
  bad: jax.Array  # int32 [], first micro-batch whose loss is not finite
  count: jax.Array  # int32 [], number of micro-batches


def means(losses: Metrics, **others: Any) -> Metrics:
  """Returns means over the micro-batch, float32 [] each, without gradient.

  Losses are named `loss/NAME`; the page finds a phase's losses by that prefix.
  """
  found = {f'loss/{name}': jnp.mean(loss) for name, loss in losses.items()}
  return jax.lax.stop_gradient(
    found | {name: jnp.float32(x) for name, x in others.items()}
  )


def make_train_step(
  config: settings.Settings,
  minimized: Objective,
  tx: optax.GradientTransformation,
  axis_name: str | None,
) -> Step:
  """Returns train_step(state, batches) -> (state, metrics).

  Args:
    config: its schedule is used.
    minimized: the objective, see `objectives`.
    tx: the optimizer.
    axis_name: the devices' axis, None for a single device without one.
  Returns:
    A pure function. `batches` contains this device's micro-batches of one
    update, stacked on a leading axis; each contributes equally. Metrics are
    means over all micro-batches of all devices, plus `bad_micro_batch`, the
    number of the first one whose loss is not finite, or -1 if there is none.
  """
  update = make_update(config, tx, axis_name)

  def train_step(train_state, batches):
    return update(
      train_state, _add_up(config, minimized, train_state, batches, None)
    )

  return train_step


def make_accumulate(
  config: settings.Settings, minimized: Objective
) -> Callable:
  """Returns accumulate(sums, state, batches) -> (sums, last loss).

  For updates whose inputs come in several slices: `accumulate` adds a slice to
  the sums, `make_update` does the rest. Micro-batches are added in the same
  order as in a single slice. The last loss is a scalar to wait for; it survives
  the donation of the sums.
  """

  def accumulate(sums, train_state, batches):
    added = _add_up(config, minimized, train_state, batches, sums)
    return added, added.metrics['loss'] - sums.metrics['loss']

  return accumulate


def make_start(
  config: settings.Settings, minimized: Objective, batches: arrays.MicroBatch
) -> Callable:
  """Returns start(state) -> the sums before the first slice.

  Args:
    config: as for `make_train_step`.
    minimized: as for `make_train_step`.
    batches: a device's slice, of which only the shapes are used.
  """

  def start(train_state):
    shapes = jax.eval_shape(
      lambda s, b: _add_up(config, minimized, s, b, None), train_state, batches
    )
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return zeros.replace(bad=jnp.full_like(zeros.bad, _NONE))

  return start


def make_update(
  config: settings.Settings,
  tx: optax.GradientTransformation,
  axis_name: str | None,
) -> Callable:
  """Returns update(state, sums) -> (state, metrics), see `make_train_step`."""

  def update(train_state, sums):
    grads, metrics = jax.tree.map(
      lambda x: x / sums.count, (sums.grads, sums.metrics)
    )
    bad = sums.bad
    if axis_name is not None:
      grads, metrics = jax.lax.pmean((grads, metrics), axis_name)
      bad = jax.lax.pmin(bad, axis_name)

    params = train_state.params
    changes, optimizer_state = tx.update(grads, train_state.optimizer, params)
    number = train_state.update + 1
    metrics |= {
      'bad_micro_batch': jnp.where(bad == _NONE, -1, bad),
      'gradient_norm': optax.tree.norm(grads),
      'learning_rate': optimizer.learning_rate(
        config.optimizer, config.num_updates, number
      ),
    }
    return dataclasses.replace(
      train_state,
      update=number,
      params=optax.apply_updates(params, changes),
      optimizer=optimizer_state,
    ), metrics

  return update


def _add_up(
  config: settings.Settings,
  minimized: Objective,
  train_state: state.TrainState,
  batches: arrays.MicroBatch,
  before: Sums | None,
) -> Sums:
  """Returns the sums over these micro-batches plus the sums `before`."""
  params = train_state.params
  gradient = jax.value_and_grad(minimized, has_aux=True)

  def accumulate(total, batch):
    batch_keys = keys.micro_batch_keys(
      batch.seed, train_state.update, batch.number
    )
    (loss, (metrics, work)), grads = gradient(
      params, train_state.start_params, batch, batch_keys
    )
    gflop = mfu.gflop(config.model, work) / len(batch.caption_numbers)
    return jax.tree.map(jnp.add, total, grads), metrics | {
      'loss': loss,
      'gflop_per_positive': gflop,
    }

  grads, parts = jax.lax.scan(
    accumulate,
    (jax.tree.map(jnp.zeros_like, params) if before is None else before.grads),
    batches,
  )
  metrics = jax.tree.map(lambda x: jnp.sum(x, axis=0), parts)
  bad = jnp.min(jnp.where(jnp.isfinite(parts['loss']), _NONE, batches.number))
  count = jnp.int32(len(batches.number))
  if before is not None:
    metrics = jax.tree.map(jnp.add, before.metrics, metrics)
    bad, count = jnp.minimum(bad, before.bad), count + before.count
  return Sums(grads, metrics, bad, count)
