"""Matching scores of many (text, image) pairs, without gradient or dropout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax.engines.packed import chunks
from tagsdc_jax.models import retrieval, token_layout as layouts
from tagsdc_jax.models.retrieval import RetrievalModel


@struct.dataclass
class Embedded:
  """First-layer embeddings of texts or images, computed once per step."""
  states: jax.Array  # float [M, L or R, D]
  lengths: jax.Array  # int32 [M], how many of them are real; they come first


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
  return jnp.concatenate([texts.states.reshape(-1, width),
                          images.states.reshape(-1, width)])


def make_pairs(texts: Embedded, images: Embedded, text_rows: jax.Array,
               image_rows: jax.Array) -> Pairs:
  """Returns pairs by the numbers of their text and image, int32 [M] each."""
  num_texts, length = texts.states.shape[:2]
  return Pairs(
      text_rows * length, texts.lengths[text_rows],
      num_texts * length + image_rows * images.states.shape[1],
      images.lengths[image_rows])


def places(pairs: Pairs,
           layout: layouts.Layout) -> tuple[jax.Array, jax.Array]:
  """Returns where the pairs' tokens lie, the regions right behind the text.

  Args:
    pairs: one per row of the layout.
    layout: of S tokens, wide enough for every pair.
  Returns:
    int32 [S] into the table, and bool [S], True where real; elsewhere a place
    may be anything.
  """
  own, place = pairs.take(layout.rows), layout.places
  index = jnp.where(place < own.num_tokens, own.text_start + place,
                    own.image_start + place - own.num_tokens)
  return index, (place < own.lengths) & (layout.rows < layout.num_rows)


def join_rows(table: jax.Array, pairs: Pairs,
              layout: layouts.Layout) -> tuple[jax.Array, jax.Array]:
  """Returns the pairs' states, float [S, D], and bool [S], as the layout's."""
  index, mask = places(pairs, layout)
  return table.at[index].get(mode='clip'), mask


def join(table: jax.Array, pairs: Pairs,
         width: int) -> tuple[jax.Array, jax.Array]:
  """Returns the pairs' states, float [M, width, D], and bool [M, width]."""
  num_pairs = pairs.num_tokens.shape[0]
  states, mask = join_rows(table, pairs, layouts.rectangle(num_pairs, width))
  return states.reshape(num_pairs, width, -1), mask.reshape(num_pairs, width)


def score_pairs(model: RetrievalModel, params: Any, texts: Embedded,
                images: Embedded, text_rows: jax.Array, image_rows: jax.Array,
                is_valid: jax.Array, *, widths: Sequence[int],
                num_tokens: int) -> jax.Array:
  """Returns the raw matching scores of pairs, float32 [M].

  Args:
    model: the network.
    params: its parameters.
    texts: embedded texts.
    images: embedded images.
    text_rows: int32 [M], which text each pair takes.
    image_rows: int32 [M], which image.
    is_valid: bool [M]; other pairs cost nothing and score 0.
    widths: static length classes, see `queue.length_widths`.
    num_tokens: at once, at most.
  """
  table = stack(texts, images)
  pairs = make_pairs(texts, images, text_rows, image_rows)

  def score_rows(rows: jax.Array, layout: layouts.Layout) -> jax.Array:
    return _score(model, params, *join_rows(table, pairs.take(rows), layout),
                  layout)

  return chunks.run_queue(
      score_rows, pairs.lengths, is_valid, widths=widths,
      num_tokens=chunks.chunk_tokens(text_rows.shape[0], widths, num_tokens))


def score_joined(model: RetrievalModel, params: Any, embeddings: jax.Array,
                 mask: jax.Array) -> jax.Array:
  """Returns float32 [M] for joined embeddings [M, T, D], mask [M, T]."""
  return _score(model, params, embeddings.reshape(-1, embeddings.shape[-1]),
                mask.reshape(-1), layouts.rectangle(*mask.shape))


def _score(model: RetrievalModel, params: Any, states: jax.Array,
           mask: jax.Array, layout: layouts.Layout) -> jax.Array:
  """Returns float32 [rows]; see `RetrievalModel.encode_tokens`."""
  last = retrieval.apply(model, params, 'encode_tokens', states, mask, layout,
                         num_outputs=1)
  return retrieval.apply(model, params, 'match_logits', last)
