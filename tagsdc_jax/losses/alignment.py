"""The alignment loss of pretraining: words and regions in one space.

Not in the paper. Before the encoder, the mean of a caption's word embeddings
should be near the mean of its picture's region embeddings, and far from those
of the other pictures of the micro-batch: the contrastive loss of two encoders
(CLIP, arXiv 2103.00020, eq. in figure 3), whose encoders are the embeddings
alone. It costs next to nothing, and attention finds the region of a word
sooner if both have similar embeddings (docs/method.md, 5).
"""

import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float

from tagsdc_jax.arrays import Array

# Of the cosines.
_TEMPERATURE = 0.1


def similarity_logits(
  words: Float[Array, 'B L D'],
  is_word: Bool[Array, 'B L'],
  regions: Float[Array, 'B R D'],
  is_region: Bool[Array, 'B R'],
) -> Float[Array, 'B B']:
  """Returns how similar each caption is to each image, float32.

  Args:
    words: text embeddings.
    is_word: which of them are words; each caption has one or more.
    regions: image embeddings.
    is_region: which of them are real.
  Returns:
    The cosine of the means, divided by the temperature.
  """
  cosines = _direction(words, is_word) @ _direction(regions, is_region).T
  return cosines / _TEMPERATURE


def alignment_loss(
  logits: Float[Array, 'B B'], is_other: Bool[Array, 'B B']
) -> Float[Array, 'B']:
  """Returns the loss of every caption and its image, both ways, float32.

  Args:
    logits: of `similarity_logits`; on the diagonal those that belong together.
    is_other: whether caption and image are of different images; captions of
      one image are not contrasted.
  """
  rows = jnp.arange(len(logits))
  is_left_out = ~is_other & (rows[:, None] != rows[None])
  logits = jnp.where(is_left_out, -jnp.inf, logits)
  return 0.5 * (
    optax.softmax_cross_entropy_with_integer_labels(logits, rows)
    + optax.softmax_cross_entropy_with_integer_labels(logits.T, rows)
  )


def _direction(
  x: Float[Array, 'B T D'], is_real: Bool[Array, 'B T']
) -> Float[Array, 'B D']:
  """Returns the mean of the real tokens, scaled to length 1."""
  x = x.astype(jnp.float32)
  total = jnp.sum(jnp.where(is_real[..., None], x, 0), axis=1)
  square = jnp.sum(total**2, axis=-1, keepdims=True)
  # Of the square, because the gradient of a length of 0 is not a number.
  return total / jnp.sqrt(jnp.maximum(square, 1e-12))
