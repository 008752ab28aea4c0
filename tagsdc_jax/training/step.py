"""One update of one device. Pure: no logging, no I/O."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tagsdc_jax import arrays, settings
from tagsdc_jax.training import keys, objectives, optimizer, state

Step = Callable[[state.TrainState, arrays.MicroBatch],
                tuple[state.TrainState, objectives.Metrics]]

_NONE = np.iinfo(np.int32).max


def make_train_step(config: settings.Settings,
                    objective: objectives.Objective,
                    tx: optax.GradientTransformation,
                    axis_name: str | None) -> Step:
  """Returns train_step(state, batches) -> (state, metrics).

  Args:
    config: seed and schedule are read.
    objective: what is minimised, from `objectives.make_objective`.
    tx: the optimiser.
    axis_name: the devices' axis, None for a single device without one.
  Returns:
    A pure function. `batches` holds this device's micro-batches of one
    update, stacked on a leading axis; each contributes equally. Metrics are
    means over all micro-batches of all devices, and `bad_micro_batch`, the
    number of the first one whose loss is not finite, -1 if there is none.
  """
  gradient = jax.value_and_grad(objective, has_aux=True)

  def train_step(train_state, batches):
    params = train_state.params

    def accumulate(total, batch):
      batch_keys = keys.micro_batch_keys(config.seed, train_state.update,
                                         batch.number)
      (loss, parts), grads = gradient(params, batch, batch_keys)
      parts = parts | {'loss': loss}
      return jax.tree.map(jnp.add, total, grads), parts

    zeros = jax.tree.map(jnp.zeros_like, params)
    grads, parts = jax.lax.scan(accumulate, zeros, batches)
    count = batches.number.shape[0]
    grads = jax.tree.map(lambda g: g / count, grads)
    metrics = jax.tree.map(jnp.mean, parts)
    bad = jnp.min(jnp.where(jnp.isfinite(parts['loss']), _NONE,
                            batches.number))
    if axis_name is not None:
      grads, metrics = jax.lax.pmean((grads, metrics), axis_name)
      bad = jax.lax.pmin(bad, axis_name)

    changes, optimizer_state = tx.update(grads, train_state.optimizer, params)
    update = train_state.update + 1
    metrics |= {
        'bad_micro_batch': jnp.where(bad == _NONE, -1, bad),
        'gradient_norm': optax.global_norm(grads),
        'learning_rate': optimizer.learning_rate(
            config.optimizer, config.num_updates, update)}
    return state.TrainState(update, optax.apply_updates(params, changes),
                            optimizer_state), metrics

  return train_step
