"""Matching scores of many pairs, without gradient or dropout, in chunks."""

from collections.abc import Sequence
from typing import Any

import jax

from tagsdc_jax.engines import pair_tokens
from tagsdc_jax.engines.engine import Embedded
from tagsdc_jax.engines.packed import chunks
from tagsdc_jax.models import retrieval, token_layout
from tagsdc_jax.models.retrieval import RetrievalModel


def score_pairs(
  model: RetrievalModel,
  params: Any,
  texts: Embedded,
  images: Embedded,
  text_rows: jax.Array,
  image_rows: jax.Array,
  is_valid: jax.Array,
  *,
  buckets: Sequence[int],
  num_tokens: int,
) -> jax.Array:
  """Returns the raw matching scores of pairs, float32 [M].

  Args:
    model: the network.
    params: its parameters.
    texts: embedded texts.
    images: embedded images.
    text_rows: int32 [M], which text each pair takes.
    image_rows: int32 [M], which image.
    is_valid: bool [M]; other pairs cost nothing and score 0.
    buckets: static length buckets, see `chunks.length_buckets`.
    num_tokens: at once, at most.
  """
  table = pair_tokens.stack(texts, images)
  pairs = pair_tokens.make_pairs(texts, images, text_rows, image_rows)

  def score_rows(rows: jax.Array, layout: token_layout.Layout) -> jax.Array:
    return _score(
      model,
      params,
      *pair_tokens.join_rows(table, pairs.take(rows), layout),
      layout,
    )

  return chunks.run_queue(
    score_rows,
    pairs.lengths,
    is_valid,
    buckets=buckets,
    num_tokens=chunks.chunk_tokens(text_rows.shape[0], buckets, num_tokens),
  )


def score_joined(
  model: RetrievalModel, params: Any, embeddings: jax.Array, mask: jax.Array
) -> jax.Array:
  """Returns float32 [M] for joined embeddings [M, T, D], mask [M, T]."""
  return _score(
    model,
    params,
    embeddings.reshape(-1, embeddings.shape[-1]),
    mask.reshape(-1),
    token_layout.rectangle(*mask.shape),
  )


def _score(
  model: RetrievalModel,
  params: Any,
  states: jax.Array,
  mask: jax.Array,
  layout: token_layout.Layout,
) -> jax.Array:
  """Returns float32 [rows]; see `RetrievalModel.encode_tokens`."""
  last = retrieval.apply(
    model, params, 'encode_tokens', states, mask, layout, num_outputs=1
  )
  return retrieval.apply(model, params, 'match_logits', last)
