"""Pairs of a text and an image as rows of tokens, regions behind the text."""

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax.engines.engine import Embedded
from tagsdc_jax.models import token_layout


@struct.dataclass
class Pairs:
  """Pairs of a text and an image, as places in the table of `stack`."""

  text_start: jax.Array  # int32 [M]
  num_tokens: jax.Array  # int32 [M]
  image_start: jax.Array  # int32 [M]
  num_regions: jax.Array  # int32 [M]

  @property
  def lengths(self) -> jax.Array:
    """int32 [M]."""
    return self.num_tokens + self.num_regions

  def take(self, rows: jax.Array) -> 'Pairs':
    """Returns some pairs; a number beyond the last one gives the last."""
    return jax.tree.map(lambda x: jnp.take(x, rows, mode='clip'), self)


def stack(texts: Embedded, images: Embedded) -> jax.Array:
  """Returns all tokens and regions below each other, float [M*L + P*R, D]."""
  width = texts.states.shape[-1]
  return jnp.concatenate(
    [texts.states.reshape(-1, width), images.states.reshape(-1, width)]
  )


def make_pairs(
  texts: Embedded, images: Embedded, text_rows: jax.Array, image_rows: jax.Array
) -> Pairs:
  """Returns pairs by the numbers of their text and image, int32 [M] each."""
  num_texts, length = texts.states.shape[:2]
  return Pairs(
    text_rows * length,
    texts.lengths[text_rows],
    num_texts * length + image_rows * images.states.shape[1],
    images.lengths[image_rows],
  )


def places(
  pairs: Pairs, layout: token_layout.Layout
) -> tuple[jax.Array, jax.Array]:
  """Returns where the pairs' tokens lie, the regions right behind the text.

  Args:
    pairs: one per row of the layout.
    layout: of S tokens, wide enough for every pair.
  Returns:
    int32 [S] into the table, and bool [S], True where real; elsewhere a place
    may be anything.
  """
  own, place = pairs.take(layout.rows), layout.places
  index = jnp.where(
    place < own.num_tokens,
    own.text_start + place,
    own.image_start + place - own.num_tokens,
  )
  return index, (place < own.lengths) & (layout.rows < layout.num_rows)


def join_rows(
  table: jax.Array, pairs: Pairs, layout: token_layout.Layout
) -> tuple[jax.Array, jax.Array]:
  """Returns the pairs' states, float [S, D], and bool [S], as the layout's."""
  index, mask = places(pairs, layout)
  return table.at[index].get(mode='clip'), mask


def join(
  table: jax.Array, pairs: Pairs, length: int
) -> tuple[jax.Array, jax.Array]:
  """Returns the pairs' states, float [M, length, D], and bool [M, length]."""
  num_pairs = pairs.num_tokens.shape[0]
  states, mask = join_rows(
    table, pairs, token_layout.rectangle(num_pairs, length)
  )
  return states.reshape(num_pairs, length, -1), mask.reshape(num_pairs, length)


def row_keys(dropout_key: jax.Array, num_rows: int) -> jax.Array:
  """Returns each row's PRNG key, [num_rows], a function of its number."""
  return jax.vmap(lambda i: jax.random.fold_in(dropout_key, i))(
    jnp.arange(num_rows)
  )
