"""Losses on words, unreduced, and the masked mean that reduces any loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

# (logits [..., n], labels int32 [...]) -> float32 [...]
CrossEntropy = Callable[[jax.Array, jax.Array], jax.Array]


def word_loss(logits: jax.Array, token_ids: jax.Array) -> jax.Array:
  """Returns the cross-entropy of the right word, float32 [...].

  Serves masked language modelling and word correction alike.

  Args:
    logits: float [..., V].
    token_ids: int32 [...], the original tokens.
  """
  return optax.softmax_cross_entropy_with_integer_labels(
    logits.astype(jnp.float32), token_ids
  )


def discrimination_loss(
  disc_logits: jax.Array,
  is_same: jax.Array,
  *,
  replaced_weight: float,
  kept_weight: float,
  cross_entropy: CrossEntropy = word_loss,
) -> jax.Array:
  """Returns the weighted cross-entropy per token, float32 [...].

  The weights scale the terms; a mean over tokens is not divided by them.

  Args:
    disc_logits: float32 [..., 2]: replaced, same word as in the caption.
    is_same: bool [...], [CLS] and [SEP] always True.
    replaced_weight: weight of tokens that differ, 1.0 in the release.
    kept_weight: weight of tokens that are the same, 0.11.
    cross_entropy: `word_loss`, or another one.
  """
  loss = cross_entropy(disc_logits, is_same.astype(jnp.int32))
  return loss * jnp.where(is_same, kept_weight, replaced_weight)


def masked_mean(
  values: jax.Array, where: jax.Array, axis: int | tuple[int, ...]
) -> jax.Array:
  """Returns the mean over the places that count, 0 where none does.

  Values at other places may be anything, infinite or NaN included, and get
  no gradient.

  Args:
    values: float [...].
    where: bool, broadcast to `values`.
    axis: the axes to reduce.
  """
  where = jnp.broadcast_to(where, values.shape)
  total = jnp.sum(jnp.where(where, values, 0.0), axis=axis)
  return total / jnp.maximum(jnp.sum(where, axis=axis), 1)
