"""Losses on matching scores, unreduced."""

import jax
import jax.numpy as jnp
import optax


def triplet_loss(positive_probs: jax.Array, negative_probs: jax.Array, *,
                 margin: float) -> jax.Array:
  """Returns max(0, margin + s(negative) - s(positive)), float32 [..., H].

  Args:
    positive_probs: float32 [...], sigmoid of the positive's matching score.
    negative_probs: float32 [..., H], likewise.
    margin: alpha, 0.2 in the paper.
  """
  return jnp.maximum(0.0, margin + negative_probs - positive_probs[..., None])


def matching_loss(itm_logits: jax.Array, is_match: jax.Array) -> jax.Array:
  """Returns the image-text matching cross-entropy, float32 [...].

  Args:
    itm_logits: float32 [..., 2]: no match, match.
    is_match: bool [...].
  """
  return optax.softmax_cross_entropy_with_integer_labels(
      itm_logits, is_match.astype(jnp.int32))
