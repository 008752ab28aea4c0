"""The image-text matching loss of pretraining, unreduced."""

import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Float32

from tagsdc_jax.arrays import Array


def matching_loss(
  itm_logits: Float[Array, '*pairs 2'], is_match: Bool[Array, '*pairs']
) -> Float32[Array, '*pairs']:
  """Returns the image-text matching cross-entropy.

  Args:
    itm_logits: logits of (no match, match).
    is_match: whether text and image belong together.
  """
  return optax.softmax_cross_entropy_with_integer_labels(
    itm_logits, is_match.astype(jnp.int32)
  )
