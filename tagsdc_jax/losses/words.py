"""Losses on words, unreduced, and the masked mean that reduces any loss."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Int

from tagsdc_jax.arrays import Array

# (logits, labels) -> loss per word
CrossEntropy = Callable[
  [Float[Array, '*words classes'], Int[Array, '*words']], Float[Array, '*words']
]


def word_loss(
  logits: Float[Array, '*words V'], token_ids: Int[Array, '*words']
) -> Float[Array, '*words']:
  """Returns the cross-entropy of the right word, float32.

  Serves masked language modelling and word correction alike.

  Args:
    logits: one per word of the vocabulary.
    token_ids: the original tokens.
  """
  return optax.softmax_cross_entropy_with_integer_labels(
    logits.astype(jnp.float32), token_ids
  )


def discrimination_loss(
  disc_logits: Float[Array, '*words 2'],
  is_same: Bool[Array, '*words'],
  *,
  replaced_weight: float,
  kept_weight: float,
  cross_entropy: CrossEntropy = word_loss,
) -> Float[Array, '*words']:
  """Returns the weighted cross-entropy per token.

  The weights scale the terms; a mean over tokens is not divided by them.

  Args:
    disc_logits: of a replaced word, of the caption's own.
    is_same: [CLS] and [SEP] always True.
    replaced_weight: weight of tokens that differ, 1.0 in the release.
    kept_weight: weight of tokens that are the same, 0.11.
    cross_entropy: `word_loss`, or another one.
  """
  loss = cross_entropy(disc_logits, is_same.astype(jnp.int32))
  return loss * jnp.where(is_same, kept_weight, replaced_weight)


def masked_mean(
  values: Float[Array, '*shape'],
  where: Bool[Array, '*#shape'],
  axis: int | tuple[int, ...],
) -> Float[Array, '...']:
  """Returns the mean over the places that count, 0 where none does.

  Values at other places may be anything, infinite or NaN included, and get
  no gradient.

  Args:
    values: to average.
    where: which of them count; broadcast to `values`.
    axis: the axes to reduce.
  """
  where = jnp.broadcast_to(where, values.shape)
  total = jnp.sum(jnp.where(where, values, 0.0), axis=axis)
  return total / jnp.maximum(jnp.sum(where, axis=axis), 1)
