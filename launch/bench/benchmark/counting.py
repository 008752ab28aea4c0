"""Rows that have to be computed: their tokens, with and without padding."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.models import flop
from tagsdc_jax.scoring import queue


@dataclasses.dataclass(frozen=True)
class Work:
  """Attributes: tokens with and without padding, and FLOP of the former."""
  flop: float
  real_tokens: float
  padded_tokens: float

  @property
  def padding(self) -> float:
    """Share of the computed tokens that are padding."""
    return 1 - self.real_tokens / self.padded_tokens


def queue_work(model: settings.Model, lengths: np.ndarray,
               widths: Sequence[int], chunk: int) -> Work:
  """Returns what the scorer's queue does for rows of these lengths."""
  ordered = np.sort(lengths)[::-1]
  heads = ordered[::chunk]
  padded = chunk * sum(min(w for w in widths if w >= h) for h in heads)
  return Work(float(np.sum(flop.scored(model, lengths))),
              float(np.sum(lengths)), padded)


def candidate_lengths(batch: arrays.MicroBatch,
                      distinct: np.ndarray) -> np.ndarray:
  """Returns the lengths of the rows that have to be scored for one update.

  Args:
    batch: micro-batches stacked on one leading axis.
    distinct: int [micro-batches, B], valid sentences of each positive.
  """
  tokens, regions = batch.texts.num_tokens, batch.images.num_regions
  own = np.repeat((tokens + regions).reshape(-1), distinct.reshape(-1))
  texts = batch.pool_texts.num_tokens[:, None] + regions[..., None]
  images = tokens[..., None] + batch.pool_images.num_regions[:, None]
  return np.concatenate([texts.reshape(-1), images.reshape(-1), own])


def gradient_tokens(config: settings.Settings, batch: arrays.MicroBatch,
                    widths: Sequence[int]) -> tuple[float, float]:
  """Returns real and padded tokens of the forward passes with gradient.

  Of the kept negatives' lengths only those of the pool are known; its first h
  stand for them. The positives are padded to the last width.
  """
  counts = config.negatives
  real = padded = 0.0
  for i in range(len(batch.texts.num_tokens)):
    tokens, regions = (x[i][:, None] for x in (batch.texts.num_tokens,
                                               batch.images.num_regions))
    own = tokens + regions
    real, padded = real + own.sum(), padded + own.size * widths[-1]
    kept = [tokens + batch.pool_images.num_regions[i][None, :counts.num_hard],
            regions + batch.pool_texts.num_tokens[i][None, :counts.num_hard],
            np.repeat(own, counts.num_hard, axis=1)]
    for rows in [[np.repeat(own, counts.num_copies, axis=1)], kept]:
      lengths = np.concatenate(rows, axis=1).reshape(-1)
      work = queue_work(config.model, lengths, widths, queue.even_chunk(
          len(lengths), config.compute.gradient_rows))
      real, padded = real + work.real_tokens, padded + work.padded_tokens
  return real, padded
