"""AdamW, learning rate schedule and clipping, exactly as in the release."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from tagsdc_jax import settings

# The release selects by name: it decays all parameters without "bias" or
# "LayerNorm" in their names. It calls these two norms img_layer_norm and
# pos_layer_norm, so their weights are decayed.
DECAYED_NORMS = ('feature_norm', 'box_norm')


def learning_rate(
  config: settings.Optimizer, num_updates: int, update: jax.Array
) -> jax.Array:
  """Returns the learning rate of an update, float32 [].

  Args:
    config: peak rate and warm-up.
    num_updates: length of the schedule.
    update: int [], counted from 1.
  """
  n = jnp.asarray(update, jnp.float32)
  warmup = config.warmup_updates
  rising = n / max(warmup, 1)  # Not used without warm-up.
  falling = (num_updates - n) / (num_updates - warmup)
  rate = config.learning_rate * jnp.where(n < warmup, rising, falling)
  return jnp.where(rate > 0, rate, config.least_rate)


def decay_mask(params: Any) -> Any:
  """Returns a tree of bools, True where a parameter is decayed."""

  def is_decayed(path: tuple[jax.tree_util.DictKey, ...], _: Any) -> bool:
    names = [entry.key for entry in path]
    if names[-1] == 'bias':
      return False
    return names[-1] != 'scale' or names[-2] in DECAYED_NORMS

  return jax.tree_util.tree_map_with_path(is_decayed, params)


class AdamState(NamedTuple):
  """The number of updates done, and both moments."""

  updates: jax.Array
  first: Any
  second: Any


def bert_adamw(
  config: settings.Optimizer, num_updates: int
) -> optax.GradientTransformation:
  """Returns AdamW as in early versions of HuggingFace Transformers.

  step = rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps): eps is
  added before the bias correction, unlike in optax.adamw. The weight after that
  step is then decayed by rate * weight_decay.
  """

  def init(params: Any) -> AdamState:
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    return AdamState(jnp.zeros([], jnp.int32), zeros(), zeros())

  def update(grads: Any, state: AdamState, params: Any = None):
    b1, b2 = config.beta1, config.beta2
    count = state.updates + 1
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.first, grads)
    second = jax.tree.map(
      lambda v, g: b2 * v + (1 - b2) * g * g, state.second, grads
    )
    rate = learning_rate(config, num_updates, count)
    t = count.astype(jnp.float32)
    step = rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)

    def change(
      p: jax.Array, m: jax.Array, v: jax.Array, is_decayed: bool
    ) -> jax.Array:
      adam = -step * m / (jnp.sqrt(v) + config.epsilon)
      if not is_decayed:
        return adam
      return adam - rate * config.weight_decay * (p + adam)

    changes = jax.tree.map(change, params, first, second, decay_mask(params))
    return changes, AdamState(count, first, second)

  return optax.GradientTransformation(init, update)


def clip_by_norm(max_norm: float) -> optax.GradientTransformation:
  """Returns clipping as in torch: scales by max_norm / (norm + 1e-6) if < 1."""

  def update(grads: Any, state: optax.EmptyState, params: Any = None):
    del params
    scale = jnp.minimum(1.0, max_norm / (optax.tree.norm(grads) + 1e-6))
    return jax.tree.map(lambda g: g * scale, grads), state

  return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def make_optimizer(
  config: settings.Optimizer, num_updates: int, untrained: tuple[str, ...]
) -> optax.GradientTransformation:
  """Returns clipping followed by AdamW; untrained parameters do not change.

  Args:
    config: rates, betas, decay, clipping.
    num_updates: length of the schedule.
    untrained: names of modules or parameters that the phase does not use.
  """

  def labels(params: Any) -> Any:
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict(
      {
        path: 'still' if set(path) & set(untrained) else 'trained'
        for path in flat
      }
    )

  trained = optax.chain(
    optax.identity()
    if config.clip_norm is None
    else clip_by_norm(config.clip_norm),
    bert_adamw(config, num_updates),
  )
  return optax.multi_transform(
    {'trained': trained, 'still': optax.set_to_zero()}, labels
  )
