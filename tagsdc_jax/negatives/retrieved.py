"""Sources of retrieved negatives: images and texts of the random pool."""

import jax.numpy as jnp
from jaxtyping import Bool, Int

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.negatives import filters, source


def images(inputs: source.Inputs) -> source.Retrieved:
  """Returns all images of the pool; none of them belongs to a positive."""
  shape = _shape(inputs.batch)
  return source.Retrieved(_every(shape), jnp.ones(shape, bool))


def texts(inputs: source.Inputs) -> source.Retrieved:
  """Returns all texts of the pool, valid where they can be negatives.

  Images of the pool are distinct; their captions may repeat.
  """
  batch = inputs.batch
  return source.Retrieved(
    _every(_shape(batch)),
    other_texts(batch),
    first_equal_texts(batch.pool_texts),
  )


def other_texts(batch: arrays.MicroBatch) -> Bool[Array, 'B N']:
  """Returns which texts of the pool can be negatives of each positive.

  A caption of another image may equal one of the positive's image, and is then
  true of that image.
  """
  return ~filters.is_reference(
    batch.pool_texts.token_ids[None], batch.references
  )


def first_equal_texts(pool: arrays.Texts) -> Int[Array, 'N']:
  """Returns, for each text, the index of the first text equal to it."""
  return filters.first_equal(
    jnp.concatenate([pool.token_ids, pool.num_tokens[:, None]], axis=1)
  )


def _shape(batch: arrays.MicroBatch) -> tuple[int, int]:
  return (batch.texts.num_tokens.shape[0], batch.pool_texts.num_tokens.shape[0])


def _every(shape: tuple[int, int]) -> Int[Array, 'B N']:
  return jnp.broadcast_to(jnp.arange(shape[1], dtype=jnp.int32)[None], shape)


IMAGES = source.Source('images', images, replaces='image', writes=False)
TEXTS = source.Source('texts', texts, writes=False)
