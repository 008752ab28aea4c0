"""Matching scores of many pairs, without gradient or dropout, in chunks."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Bool, Float, Int

from tagsdc_jax.arrays import Array
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
  text_rows: Int[Array, 'rows'],
  image_rows: Int[Array, 'rows'],
  is_valid: Bool[Array, 'rows'],
  *,
  buckets: Sequence[int],
  num_tokens: int,
) -> Float[Array, 'rows']:
  """Returns the raw matching scores of pairs, float32.

  Args:
    model: the network.
    params: its parameters.
    texts: embedded texts.
    images: embedded images.
    text_rows: index of each pair's text.
    image_rows: index of each pair's image.
    is_valid: which pairs to score; the others have no cost and get 0.
    buckets: length buckets, static; see `chunks.length_buckets`.
    num_tokens: maximum number of tokens per chunk.
  """
  table = pair_tokens.stack(texts, images)
  pairs = pair_tokens.make_pairs(texts, images, text_rows, image_rows)

  def score_rows(
    rows: Int[Array, 'max_rows'], layout: token_layout.Layout
  ) -> Float[Array, 'max_rows']:
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
  model: RetrievalModel,
  params: Any,
  embeddings: Float[Array, 'rows T D'],
  mask: Bool[Array, 'rows T'],
) -> Float[Array, 'rows']:
  """Returns the raw matching scores of concatenated embeddings, float32."""
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
  states: Float[Array, 'tokens D'],
  mask: Bool[Array, 'tokens'],
  layout: token_layout.Layout,
) -> Float[Array, 'max_rows']:
  """Returns the rows' scores; see `RetrievalModel.encode_tokens`."""
  last = retrieval.apply(
    model, params, 'encode_tokens', states, mask, layout, num_outputs=1
  )
  return retrieval.apply(model, params, 'match_logits', last)
