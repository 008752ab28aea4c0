"""Negatives with two adjacent words swapped."""

import jax
import jax.numpy as jnp

from tagsdc_jax.negatives import source

NUM_SENTENCES = 6


def neighbors(inputs: source.Inputs) -> source.Sentences:
  """Returns six sentences per caption; some may be equal."""
  texts = inputs.batch.texts
  num_positives, length = texts.token_ids.shape
  shape = (num_positives, NUM_SENTENCES)
  # Between [CLS] and [SEP]: positions 1 to num_tokens - 2.
  draws = jax.random.uniform(inputs.keys.mask, shape)
  left = 1 + (draws * (texts.num_tokens[:, None] - 3)).astype(jnp.int32)
  place = jnp.arange(length)[None, None]
  is_left, is_right = (place == (left + i)[..., None] for i in (0, 1))
  captions = jnp.broadcast_to(texts.token_ids[:, None], (*shape, length))
  token_ids = jnp.where(is_left, jnp.roll(captions, -1, axis=2), captions)
  token_ids = jnp.where(is_right, jnp.roll(captions, 1, axis=2), token_ids)
  return source.Sentences(
    token_ids=token_ids,
    num_tokens=jnp.broadcast_to(texts.num_tokens[:, None], shape),
    is_valid=jnp.broadcast_to(texts.num_tokens[:, None] > 3, shape),
    is_target=is_left | is_right,
    originals=captions,
  )
