"""Pairs as the release runs them: one row each, padded, none skipped.

The release gathers a row's tokens by an index into [text padded to the batch's
longest, regions]. Two of its errors are wrong indices, so rows contain this
index.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.losses import triplet
from tagsdc_jax.models import retrieval

# scores [N] of the candidates -> (indices int32 [H], is_filled bool [H])
Choose = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


@struct.dataclass
class Rows:
  """Pairs of a text and an image."""

  texts: arrays.Texts  # [M, L]
  images: arrays.Images  # [M, R, .]
  places: jax.Array  # int32 [M, L + R], each token's index in [text, regions]
  mask: jax.Array  # bool [M, L + R], True where real


def pair_rows(
  texts: arrays.Texts,
  images: arrays.Images,
  image_start: jax.Array | None = None,
) -> Rows:
  """Returns pairs row by row; a single text or image is used in all rows.

  Args:
    texts: [M or 1, L].
    images: [M or 1, R, .].
    image_start: int32 [], where the release expects the regions: an index into
      [text padded to the longest of these texts, regions]. None means where
      they actually are, after the padding.
  """
  count = max(texts.num_tokens.shape[0], images.num_regions.shape[0])
  texts, images = jax.tree.map(
    lambda x: jnp.broadcast_to(x, (count, *x.shape[1:])), (texts, images)
  )
  length, regions = texts.token_ids.shape[1], images.boxes.shape[1]
  text_width = jnp.max(texts.num_tokens)
  start = text_width if image_start is None else image_start
  tokens = texts.num_tokens[:, None]
  place = jnp.broadcast_to(
    jnp.arange(length + regions)[None], (count, length + regions)
  )
  index = jnp.where(place < tokens, place, start + place - tokens)
  # From the release's padded width to ours.
  index = jnp.where(index < text_width, index, index - text_width + length)
  return Rows(
    texts,
    images,
    jnp.minimum(index, length + regions - 1),
    place < tokens + images.num_regions[:, None],
  )


def first_word_only(rows: Rows) -> Rows:
  """Returns rows of which the first consists of copies of its first word.

  Reference: the release uses the attention mask, all ones, as the index of the
  positive; see docs/quirks.md, 1.
  """
  return dataclasses.replace(rows, places=rows.places.at[0].set(1))


def take(rows: Rows, indices: jax.Array) -> Rows:
  """Returns some of the rows."""
  return jax.tree.map(lambda x: x[indices], rows)


def encode(
  engine: Engine,
  params: Any,
  rows: Rows,
  *,
  num_outputs: int,
  dropout_key: jax.Array | None = None,
) -> jax.Array:
  """Returns states, float [M, num_outputs, D]; with dropout if given a key."""
  text_key, image_key, encoder_key = (
    (None,) * 3 if dropout_key is None else jax.random.split(dropout_key, 3)
  )
  states = jnp.concatenate(
    [
      engine.embed_text(params, rows.texts, text_key).states,
      engine.embed_image(params, rows.images, image_key).states,
    ],
    axis=1,
  )
  joined = jnp.take_along_axis(states, rows.places[..., None], axis=1)
  return retrieval.apply(
    engine.task.model,
    params,
    'encode',
    joined,
    rows.mask,
    num_outputs=num_outputs,
    dropout_key=encoder_key,
  )


@struct.dataclass
class Ranked:
  """The scores and losses of a positive and its candidates."""

  match_logits: jax.Array  # float32 [1 + N], without gradient and dropout
  indices: jax.Array  # int32 [H] into the candidates
  is_filled: jax.Array  # bool [H]
  probs: jax.Array  # float32 [1 + H], with gradient
  losses: jax.Array  # float32 [H], with gradient


def rank(
  engine: Engine,
  params: Any,
  rows: Rows,
  choose: Choose,
  dropout_key: jax.Array,
) -> Ranked:
  """Scores all rows, selects the hardest, and runs these with gradient.

  Args:
    engine: runs the network.
    params: parameters.
    rows: the positive, then its N candidates.
    choose: selects candidates by their raw scores [N].
    dropout_key: PRNG key, used once.
  """

  def match_logits(params: Any, rows: Rows, key: jax.Array | None) -> jax.Array:
    states = encode(engine, params, rows, num_outputs=1, dropout_key=key)
    return engine.read(params, 'match_logits', states)

  logits = match_logits(jax.lax.stop_gradient(params), rows, None)
  indices, is_filled = choose(logits[1:])
  selected = take(rows, jnp.concatenate([jnp.zeros(1, jnp.int32), 1 + indices]))
  probs = jax.nn.sigmoid(match_logits(params, selected, dropout_key))
  losses = triplet.triplet_loss(
    probs[:1], probs[1:], margin=engine.task.settings.losses.margin
  )
  return Ranked(logits, indices, is_filled, probs, losses)
