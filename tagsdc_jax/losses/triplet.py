"""The triplet loss, unreduced."""

import jax.numpy as jnp
from jaxtyping import Float

from tagsdc_jax.arrays import Array


def triplet_loss(
  positive_probs: Float[Array, '*#pairs'],
  negative_probs: Float[Array, '*#pairs'],
  *,
  margin: float,
) -> Float[Array, '*#pairs']:
  """Returns max(0, margin + s(negative) - s(positive)).

  Args:
    positive_probs: s(positive), the sigmoid of the positive's matching score.
    negative_probs: s(negative), likewise.
    margin: alpha, 0.2 in the paper.
  """
  return jnp.maximum(0.0, margin + negative_probs - positive_probs)
