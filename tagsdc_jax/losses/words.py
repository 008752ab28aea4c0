"""Losses of words, unreduced, and the masked mean that reduces losses."""

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
  """Returns the cross-entropy of the original word, float32.

  The loss of masked language modeling and of word correction.

  Args:
    logits: one per word of the vocabulary.
    token_ids: the original words.
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
  """Returns the class-weighted cross-entropy of each word.

  The class weights scale the losses; a mean over words is divided by their
  number, not by the sum of the weights.

  Args:
    disc_logits: logits of (replaced, original).
    is_same: whether the word equals the caption's; True at [CLS] and [SEP].
    replaced_weight: weight of replaced words, 1.0 in the release.
    kept_weight: weight of unchanged words, 0.11 in the release.
    cross_entropy: `word_loss`, or a replacement for it.
  """
  loss = cross_entropy(disc_logits, is_same.astype(jnp.int32))
  return loss * jnp.where(is_same, kept_weight, replaced_weight)


def masked_mean(
  values: Float[Array, '*shape'],
  where: Bool[Array, '*#shape'],
  axis: int | tuple[int, ...],
) -> Float[Array, '...']:
  """Returns the mean of the values where `where` is True; 0 if nowhere.

  Other values may be anything, including infinity and NaN, and get no gradient.

  Args:
    values: values to average.
    where: which values count; broadcast to `values`.
    axis: axes to reduce.
  """
  where = jnp.broadcast_to(where, values.shape)
  total = jnp.sum(jnp.where(where, values, 0.0), axis=axis)
  return total / jnp.maximum(jnp.sum(where, axis=axis), 1)
