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


def stack(texts: Embedded, images: Embedded) -> jax.Array:
  """Returns all tokens and regions below each other, float [M*L + P*R, D]."""
  width = texts.states.shape[-1]
  return jnp.concatenate([texts.states.reshape(-1, width),
                          images.states.reshape(-1, width)])


def join(table: jax.Array, texts: Embedded, images: Embedded,
         text_rows: jax.Array, image_rows: jax.Array,
         width: int) -> tuple[jax.Array, jax.Array]:
  """Gathers pairs, the real regions right behind the real tokens.

  Args:
    table: `stack(texts, images)`, made once for all pairs.
    texts: embedded texts.
    images: embedded images.
    text_rows: int32 [M].
    image_rows: int32 [M].
    width: at least tokens + regions of every pair.
  Returns:
    float [M, width, D] and bool [M, width], True where real.
  """
  num_texts, length = texts.states.shape[:2]
  num_regions = images.states.shape[1]
  tokens = texts.lengths[text_rows][:, None]
  regions = images.lengths[image_rows][:, None]
  place = jnp.arange(width)[None]
  text_places = text_rows[:, None] * length + jnp.minimum(place, length - 1)
  image_places = (num_texts * length + image_rows[:, None] * num_regions
                  + jnp.clip(place - tokens, 0, num_regions - 1))
  rows = jnp.where(place < tokens, text_places, image_places)
  return table[rows], place < tokens + regions


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

  def score_rows(width: int, rows: jax.Array) -> jax.Array:
    text, image = (index.at[rows].get(mode='clip')
                   for index in (text_rows, image_rows))
    embeddings, mask = join(table, texts, images, text, image, width)
    return score_joined(model, params, embeddings, mask)

  lengths = texts.lengths[text_rows] + images.lengths[image_rows]
  return queue.run_queue(score_rows, lengths, is_valid, widths=widths,
                         chunk=chunk)


def score_joined(model: RetrievalModel, params: Any, embeddings: jax.Array,
                 mask: jax.Array) -> jax.Array:
  """Returns float32 [M] for joined embeddings [M, T, D], mask [M, T]."""
  states = retrieval.apply(model, params, 'encode', embeddings, mask,
                           num_outputs=1)
  return retrieval.apply(model, params, 'match_logits', states)
