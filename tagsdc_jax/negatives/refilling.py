"""Draws tokens from the language head's distribution at masked positions."""

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays

# Words per block of the two-level draw; near the square root of BERT's
# vocabulary, so that both levels are short.
BLOCK = 128


def draw_uniforms(
  key: jax.Array, num_targets: int, num_samples: int
) -> jax.Array:
  """Returns what `sample_tokens` consumes, float32 [M, S, 2] in [0, 1)."""
  return jax.random.uniform(key, (num_targets, num_samples, 2))


def sample_tokens(
  uniforms: jax.Array, logits: jax.Array, temperature: float
) -> jax.Array:
  """Draws from softmax(logits / temperature) by inverse CDF.

  Two levels: first a block of 128 words by the blocks' cumulative mass, then
  a word within the block by the block's own. One cumulative sum over the
  whole vocabulary would lose rare words in float32: near 1 its steps are
  6e-8, so words below that share draws by luck of rounding. Within a block of
  rare words the sum is relative to that block.

  Args:
    uniforms: float32 [Q, S, 2] from `draw_uniforms`.
    logits: float [Q, V].
    temperature: > 0; 1.5 or 2.0 in the reference's scripts.
  Returns:
    int32 [Q, S], independent draws with replacement.
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


def _invert(weights: jax.Array, uniforms: jax.Array) -> jax.Array:
  """Returns, per draw, the first index whose cumulative weight exceeds it.

  Args:
    weights: float32 [Q, S or 1, n], not negative, not all zero.
    uniforms: float32 [Q, S].
  Returns:
    int32 [Q, S]; never an index of weight zero.
  """
  cumulative = jnp.cumsum(weights, axis=-1)
  # u < 1 but u * total may round up to the total: stay just below it.
  total = cumulative[..., -1]
  threshold = jnp.minimum(
    uniforms * total, jnp.nextafter(total, jnp.float32(0))
  )
  return jnp.sum(cumulative <= threshold[..., None], axis=-1, dtype=jnp.int32)


def refill(
  masked_from: jax.Array, is_target: jax.Array, sampled: jax.Array
) -> jax.Array:
  """Overwrites the targets; everything else is the original caption.

  Args:
    masked_from: int32 [B, L], the captions.
    is_target: bool [B, K, L].
    sampled: int32 [B, K, L, S], read at targets only.
  Returns:
    int32 [B, K * S, L], copy-major as the reference's list.
  """
  batch, num_copies, length, num_samples = sampled.shape
  by_sample = jnp.swapaxes(sampled, 2, 3)
  candidates = jnp.where(
    is_target[:, :, None], by_sample, masked_from[:, None, None]
  )
  return candidates.reshape(batch, num_copies * num_samples, length)
