"""The triplet loss, unreduced."""

import jax
import jax.numpy as jnp


def triplet_loss(
  positive_probs: jax.Array, negative_probs: jax.Array, *, margin: float
) -> jax.Array:
  """Returns max(0, margin + s(negative) - s(positive)), float32 [...].

  Args:
    positive_probs: float32 [...], sigmoid of the positive's matching score.
    negative_probs: float32 [...], likewise.
    margin: alpha, 0.2 in the paper.
  """
  return jnp.maximum(0.0, margin + negative_probs - positive_probs)
