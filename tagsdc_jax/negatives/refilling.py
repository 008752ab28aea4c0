"""Refilling: samples words from the language head at masked positions."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array

# Words per block of two-level sampling; near the square root of BERT's
# vocabulary size, so that both levels are short.
BLOCK = 128


def draw_uniforms(
  key: Key[Array, ''], num_targets: int, num_samples: int
) -> Float[Array, 'targets S 2']:
  """Returns uniform random numbers in [0, 1) for `sample_tokens`."""
  return jax.random.uniform(key, (num_targets, num_samples, 2))


def sample_tokens(
  uniforms: Float[Array, 'targets S 2'],
  logits: Float[Array, 'targets V'],
  temperature: float,
) -> Int[Array, 'targets S']:
  """Returns samples from softmax(logits / temperature), by inverse CDF.

  Samples in two levels: first a block of 128 words, by the blocks' total
  probabilities, then a word within the block. A single cumulative sum over the
  vocabulary would misrepresent rare words: float32 has steps of 6e-8 near 1, so
  words less probable than that would be drawn or missed by rounding. A
  cumulative sum within a block of rare words is relative to that block.

  Args:
    uniforms: from `draw_uniforms`.
    logits: logits of the language head.
    temperature: > 0; 1.5 or 2.0 in the reference's scripts.
  Returns:
    Token ids, drawn independently with replacement.
  Raises:
    ValueError: if the shapes do not match.
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

  An index of weight zero is never returned.

  Args:
    weights: nonnegative, not all zero.
    uniforms: one per draw.
  """
  cumulative = jnp.cumsum(weights, axis=-1)
  # u < 1, but u * total may round up to total: stay just below it.
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
  """Returns the captions with sampled words at the targets.

  Args:
    masked_from: the original captions.
    is_target: which words are replaced.
    sampled: the new words; read at targets only.
  Returns:
    Sentences, ordered by copy, then by sample, as in the release.
  """
  batch, num_copies, length, num_samples = sampled.shape
  by_sample = jnp.swapaxes(sampled, 2, 3)
  candidates = jnp.where(
    is_target[:, :, None], by_sample, masked_from[:, None, None]
  )
  return candidates.reshape(batch, num_copies * num_samples, length)
