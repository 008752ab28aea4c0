"""Counts the tokens of the rows to compute, with and without padding."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.engines.packed import chunks
from tagsdc_jax.models import flop


@dataclasses.dataclass(frozen=True)
class Work:
  """Attributes: tokens with and without padding, and FLOP of the former."""

  flop: float
  real_tokens: float
  padded_tokens: float

  @property
  def padding(self) -> float:
    """The share of padding among the computed tokens."""
    return 1 - self.real_tokens / self.padded_tokens


def queue_work(
  model: settings.Model, lengths: np.ndarray, buckets: Sequence[int], most: int
) -> Work:
  """Returns the work of a queue for rows of these lengths.

  Args:
    model: sizes.
    lengths: int [M].
    buckets: length buckets.
    most: the setting for the number of tokens processed at once.
  """
  num_tokens = chunks.chunk_tokens(len(lengths), buckets, most)
  ordered = np.sort(lengths)[::-1]
  start = num_chunks = 0
  while start < len(ordered):
    start += num_tokens // min(w for w in buckets if w >= ordered[start])
    num_chunks += 1
  return Work(
    float(np.sum(flop.scored(model, lengths))),
    float(np.sum(lengths)),
    num_chunks * num_tokens,
  )


def scoring_work(
  config: settings.Settings,
  batch: arrays.MicroBatch,
  distinct: np.ndarray,
  buckets: Sequence[int],
) -> Work:
  """Returns the work of scoring for one update, with a queue per micro-batch.

  Args:
    config: sizes.
    batch: micro-batches stacked on one leading axis.
    distinct: int [micro-batches, B], valid sentences of each positive.
    buckets: length buckets.
  """
  found = [
    queue_work(config.model, lengths, buckets, config.compute.score_tokens)
    for lengths in map(candidate_lengths, _apart(batch), distinct)
  ]
  return Work(
    *(
      sum(column)
      for column in zip(*map(dataclasses.astuple, found), strict=True)
    )
  )


def _apart(batch: arrays.MicroBatch) -> Iterator[arrays.MicroBatch]:
  """Yields the micro-batches."""
  for i in range(len(batch.number)):
    yield jax.tree.map(lambda x, i=i: x[i], batch)


def candidate_lengths(
  batch: arrays.MicroBatch, distinct: np.ndarray
) -> np.ndarray:
  """Returns the lengths of the rows to score for a micro-batch.

  Args:
    batch: the micro-batch.
    distinct: int [B], valid sentences of each positive.
  """
  tokens, regions = batch.texts.num_tokens, batch.images.num_regions
  own = np.repeat(tokens + regions, distinct)
  texts = batch.pool_texts.num_tokens + regions[:, None]
  images = tokens[:, None] + batch.pool_images.num_regions
  return np.concatenate([texts.reshape(-1), images.reshape(-1), own])


def gradient_tokens(
  config: settings.Settings, batch: arrays.MicroBatch, buckets: Sequence[int]
) -> tuple[float, float]:
  """Returns real and padded tokens of the forward passes with gradient.

  The lengths of the selected negatives are not known, so the first h of the
  pool stand in for them, as one group; each further group may add a chunk. The
  positives are padded to the last width.
  """
  counts = config.negatives
  real = padded = 0.0
  for one in _apart(batch):
    tokens, regions = (
      x[:, None] for x in (one.texts.num_tokens, one.images.num_regions)
    )
    own = tokens + regions
    real, padded = real + own.sum(), padded + own.size * buckets[-1]
    kept = [
      tokens + one.pool_images.num_regions[None, : counts.num_hard],
      regions + one.pool_texts.num_tokens[None, : counts.num_hard],
      np.repeat(own, counts.num_hard, axis=1),
    ]
    for rows in [[np.repeat(own, counts.num_copies, axis=1)], kept]:
      lengths = np.concatenate(rows, axis=1).reshape(-1)
      work = queue_work(
        config.model, lengths, buckets, config.compute.gradient_tokens
      )
      real, padded = real + work.real_tokens, padded + work.padded_tokens
  return real, padded
