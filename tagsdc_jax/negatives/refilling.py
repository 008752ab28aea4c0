"""Draws tokens from the language head's distribution at masked positions."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array

# Words per block of the two-level draw; near the square root of BERT's
# vocabulary, so that both levels are short.
BLOCK = 128


def draw_uniforms(
  key: Key[Array, ''], num_targets: int, num_samples: int
) -> Float[Array, 'targets S 2']:
  """Returns what `sample_tokens` consumes, in [0, 1)."""
  return jax.random.uniform(key, (num_targets, num_samples, 2))


def sample_tokens(
  uniforms: Float[Array, 'targets S 2'],
  logits: Float[Array, 'targets V'],
  temperature: float,
) -> Int[Array, 'targets S']:
  """Draws from softmax(logits / temperature) by inverse CDF.

  Two levels: first a block of 128 words by the blocks' cumulative mass, then
  a word within the block by the block's own. One cumulative sum over the
  whole vocabulary would lose rare words in float32: near 1 its steps are
  6e-8, so words below that share draws by luck of rounding. Within a block of
  rare words the sum is relative to that block.

  Args:
    uniforms: from `draw_uniforms`.
    logits: of the language head.
    temperature: > 0; 1.5 or 2.0 in the reference's scripts.
  Returns:
    Independent draws with replacement.
  Raises:
    ValueError: if the shapes do not fit.
  """
  num_targets, vocab_size = logits.shape
  arrays.check_shape('uniforms', uniforms, (num_targets, None, 2))
  scaled = logits.astype(jnp.float32) / temperature
  weights = jnp.exp(scaled - jnp.max(scaled, axis=-1, keepdims=True))
  weights = jnp.pad(weights, ((0, 0), (0, -vocab_size % BLOCK)))
  blocks = weights.reshape(num_targets, -1, BLOCK)
  block = _invert(jnp.sum(blocks, axis=-1)[:, None], uniforms[..., 0])
  inside = jnp.take_along_axis(blocks, block[..., None], axis=1)
  return block * BLOCK + _invert(inside, uniforms[..., 1])


def _invert(
  weights: Float[Array, 'targets #S choices'],
  uniforms: Float[Array, 'targets S'],
) -> Int[Array, 'targets S']:
  """Returns, per draw, the first index whose cumulative weight exceeds it.

  Args:
    weights: not negative, not all zero.
    uniforms: one per draw.
  Returns:
    Never an index of weight zero.
  """
  cumulative = jnp.cumsum(weights, axis=-1)
  # u < 1 but u * total may round up to the total: stay just below it.
  total = cumulative[..., -1]
  threshold = jnp.minimum(
    uniforms * total, jnp.nextafter(total, jnp.float32(0))
  )
  return jnp.sum(cumulative <= threshold[..., None], axis=-1, dtype=jnp.int32)


def refill(
  masked_from: Int[Array, 'B L'],
  is_target: Bool[Array, 'B K L'],
  sampled: Int[Array, 'B K L S'],
) -> Int[Array, 'B K*S L']:
  """Overwrites the targets; everything else is the original caption.

  Args:
    masked_from: the captions.
    is_target: which words are overwritten.
    sampled: by what; read at targets only.
  Returns:
    Sentences, copy-major as the reference's list.
  """
  batch, num_copies, length, num_samples = sampled.shape
  by_sample = jnp.swapaxes(sampled, 2, 3)
  candidates = jnp.where(
    is_target[:, :, None], by_sample, masked_from[:, None, None]
  )
  return candidates.reshape(batch, num_copies * num_samples, length)
