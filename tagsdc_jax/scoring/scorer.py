"""Matching scores of many (text, image) pairs, without gradient or dropout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.scoring import queue


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
    return jax.tree.map(lambda x: x.at[rows].get(mode='clip'), self)


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


def places(pairs: Pairs, width: int) -> tuple[jax.Array, jax.Array]:
  """Returns where a pair's tokens lie, the regions right behind the text.

  Args:
    pairs: M pairs.
    width: at least tokens + regions of every pair.
  Returns:
    int32 [M, width] into the table, and bool [M, width], True where real;
    elsewhere a place may be anything.
  """
  place = jnp.arange(width, dtype=jnp.int32)[None]
  tokens = pairs.num_tokens[:, None]
  index = jnp.where(place < tokens, pairs.text_start[:, None] + place,
                    pairs.image_start[:, None] + place - tokens)
  return index, place < pairs.lengths[:, None]


def join(table: jax.Array, pairs: Pairs,
         width: int) -> tuple[jax.Array, jax.Array]:
  """Returns the pairs' states, float [M, width, D], and bool [M, width]."""
  index, mask = places(pairs, width)
  return table.at[index].get(mode='clip'), mask


def score_pairs(model: RetrievalModel, params: Any, texts: Embedded,
                images: Embedded, text_rows: jax.Array, image_rows: jax.Array,
                is_valid: jax.Array, *, widths: Sequence[int],
                chunk: int) -> jax.Array:
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
    chunk: pairs at once.
  """
  table = stack(texts, images)
  pairs = make_pairs(texts, images, text_rows, image_rows)

  def score_rows(width: int, rows: jax.Array) -> jax.Array:
    return score_joined(model, params, *join(table, pairs.take(rows), width))

  return queue.run_queue(score_rows, pairs.lengths, is_valid, widths=widths,
                         chunk=chunk)


def score_joined(model: RetrievalModel, params: Any, embeddings: jax.Array,
                 mask: jax.Array) -> jax.Array:
  """Returns float32 [M] for joined embeddings [M, T, D], mask [M, T]."""
  states = retrieval.apply(model, params, 'encode', embeddings, mask,
                           num_outputs=1)
  return retrieval.apply(model, params, 'match_logits', states)
