"""Image-text matching, the loss of pretraining, unreduced."""

import jax
import jax.numpy as jnp
import optax


def matching_loss(itm_logits: jax.Array, is_match: jax.Array) -> jax.Array:
  """Returns the image-text matching cross-entropy, float32 [...].

  Args:
    itm_logits: float32 [..., 2]: no match, match.
    is_match: bool [...].
  """
  return optax.softmax_cross_entropy_with_integer_labels(
    itm_logits, is_match.astype(jnp.int32)
  )
