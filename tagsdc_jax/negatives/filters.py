"""Filters: which texts can be negatives of an image.

A caption of the image, or a repeated sentence, cannot.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from tagsdc_jax.arrays import Array


def is_reference(
  candidates: Int[Array, '#B candidates L'],
  references: Int[Array, 'B references L'],
) -> Bool[Array, 'B candidates']:
  """Returns whether each candidate equals a caption of the image.

  Args:
    candidates: candidates of each positive, or one set for all positives.
    references: captions of each positive's image; unused rows are all [PAD].
  """
  same = candidates[:, :, None] == references[:, None]
  return jnp.any(jnp.all(same, axis=-1), axis=-1)


def is_made_of(
  candidates: Int[Array, 'B candidates L'],
  references: Int[Array, 'B references L'],
) -> Bool[Array, 'B candidates']:
  """Returns whether all tokens of each candidate occur in the references."""

  def one(
    rows: Int[Array, 'candidates L'], words: Int[Array, 'references L']
  ) -> Bool[Array, 'candidates']:
    words = jnp.sort(words.reshape(-1))
    place = jnp.minimum(jnp.searchsorted(words, rows), words.size - 1)
    return jnp.all(words[place] == rows, axis=-1)

  return jax.vmap(one)(candidates, references)


def is_repeated(
  candidates: Int[Array, 'B candidates L'],
) -> Bool[Array, 'B candidates']:
  """Returns whether each candidate equals an earlier one."""
  index = jnp.arange(candidates.shape[1], dtype=jnp.int32)[None]
  return jax.vmap(first_equal)(candidates) != index


def first_equal(rows: Int[Array, 'rows length']) -> Int[Array, 'rows']:
  """Returns, for each row, the index of the first row equal to it.

  Rows are hashed to 64 bits and sorted by hash and index. Each row is then
  compared, token by token, with the first row with the same hash, so that a
  collision never makes different rows equal. The cost is O(n log n) in the
  number of rows.
  """
  num_rows, length = rows.shape
  # Fixed odd multipliers; the wraparound of uint32 is intended.
  keys = jax.random.bits(jax.random.key(0x7A65), (2, length), jnp.uint32) | 1
  mixed = rows.astype(jnp.uint32)[None] * keys[:, None]
  mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x2C1B3C6D)
  high, low = jnp.sum(mixed ^ (mixed >> 13), axis=-1, dtype=jnp.uint32)
  places = jnp.arange(num_rows, dtype=jnp.int32)
  high, low, places = jax.lax.sort((high, low, places), num_keys=3)
  starts = jnp.concatenate(
    [jnp.ones(1, bool), (high[1:] != high[:-1]) | (low[1:] != low[:-1])]
  )
  start_of_run = jax.lax.cummax(jnp.where(starts, jnp.arange(num_rows), 0))
  leader = places[start_of_run]
  same = jnp.all(rows[places] == rows[leader], axis=-1)
  return (
    jnp.zeros(num_rows, jnp.int32)
    .at[places]
    .set(jnp.where(same, leader, places))
  )


# Which candidates are, or might be, true of the image. Keys are the values of
# `negatives.exclude`; arguments are (candidates, captions [B, L], references).
IS_EXCLUDED: dict[str, Callable[..., Bool[Array, 'B candidates']]] = {
  'caption': lambda candidates, captions, references: is_reference(
    candidates, captions[:, None]
  ),
  'image': lambda candidates, captions, references: is_reference(
    candidates, references
  ),
  'words': lambda candidates, captions, references: is_made_of(
    candidates, references
  ),
}


def valid_candidates(
  candidates: Int[Array, 'B candidates L'],
  captions: Int[Array, 'B L'],
  references: Int[Array, 'B references L'],
  *,
  exclude: str,
) -> Bool[Array, 'B candidates']:
  """Returns which candidates can be negatives.

  Of equal candidates, only the first is valid.

  Args:
    candidates: generated sentences.
    captions: the captions that they were generated from.
    references: all captions of the image.
    exclude: a key of IS_EXCLUDED.
  """
  is_excluded = IS_EXCLUDED[exclude](candidates, captions, references)
  return ~is_excluded & ~is_repeated(candidates)
