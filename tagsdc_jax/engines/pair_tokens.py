"""Pairs of text and image as rows of tokens: the text, then the regions."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax.arrays import Array
from tagsdc_jax.engines.engine import Embedded
from tagsdc_jax.models import token_layout


@struct.dataclass
class Pairs:
  """Pairs of a text and an image, as positions in the table of `stack`."""

  text_start: Int[Array, 'rows']
  num_tokens: Int[Array, 'rows']
  image_start: Int[Array, 'rows']
  num_regions: Int[Array, 'rows']

  @property
  def lengths(self) -> Int[Array, 'rows']:
    """Number of tokens and regions of each pair."""
    return self.num_tokens + self.num_regions

  def take(self, rows: Int[Array, '...']) -> 'Pairs':
    """Returns pairs by index; an index beyond the last returns the last."""
    return jax.tree.map(lambda x: jnp.take(x, rows, mode='clip'), self)


def stack(texts: Embedded, images: Embedded) -> Float[Array, 'places D']:
  """Returns a table of all tokens, followed by all regions."""
  width = texts.states.shape[-1]
  return jnp.concatenate(
    [texts.states.reshape(-1, width), images.states.reshape(-1, width)]
  )


def make_pairs(
  texts: Embedded,
  images: Embedded,
  text_rows: Int[Array, 'rows'],
  image_rows: Int[Array, 'rows'],
) -> Pairs:
  """Returns the pairs with the given indices of texts and images."""
  num_texts, length = texts.states.shape[:2]
  return Pairs(
    text_rows * length,
    texts.lengths[text_rows],
    num_texts * length + image_rows * images.states.shape[1],
    images.lengths[image_rows],
  )


def places(
  pairs: Pairs, layout: token_layout.Layout
) -> tuple[Int[Array, 'tokens'], Bool[Array, 'tokens']]:
  """Returns each token's position in the table, regions right after the text.

  Args:
    pairs: one per row of the layout.
    layout: wide enough for every pair.
  Returns:
    Positions in the table, and which are real; the others are arbitrary.
  """
  pair, place = pairs.take(layout.rows), layout.places
  index = jnp.where(
    place < pair.num_tokens,
    pair.text_start + place,
    pair.image_start + place - pair.num_tokens,
  )
  return index, (place < pair.lengths) & (layout.rows < layout.num_rows)


def join_rows(
  table: Float[Array, 'places D'], pairs: Pairs, layout: token_layout.Layout
) -> tuple[Float[Array, 'tokens D'], Bool[Array, 'tokens']]:
  """Returns the pairs' states in the layout, and which of them are real."""
  index, mask = places(pairs, layout)
  return table.at[index].get(mode='clip'), mask


def join(
  table: Float[Array, 'places D'], pairs: Pairs, length: int
) -> tuple[Float[Array, 'rows length D'], Bool[Array, 'rows length']]:
  """Returns the pairs' states padded to one length, and which are real."""
  num_pairs = pairs.num_tokens.shape[0]
  states, mask = join_rows(
    table, pairs, token_layout.rectangle(num_pairs, length)
  )
  return states.reshape(num_pairs, length, -1), mask.reshape(num_pairs, length)


def row_keys(dropout_key: Key[Array, ''], num_rows: int) -> Key[Array, 'rows']:
  """Returns a key per row, which depends on the row's index only."""
  return jax.vmap(lambda i: jax.random.fold_in(dropout_key, i))(
    jnp.arange(num_rows)
  )
