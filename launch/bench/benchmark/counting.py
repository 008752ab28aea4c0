"""FLOP and tokens, counted from the rows that have to be computed."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.scoring import queue

_WITH_GRADIENT = 3  # Forward once, backward twice as much.


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


def encoder_flop(model: settings.Model, lengths: np.ndarray,
                 outputs: np.ndarray | int) -> float:
  """Returns the FLOP of rows whose last layer is needed in part.

  Args:
    model: sizes.
    lengths: int [M], real tokens and regions.
    outputs: int [M] or one for all, tokens that are read of the last layer.
  """
  n = np.asarray(lengths, np.float64)
  q = np.broadcast_to(np.asarray(outputs, np.float64), n.shape)
  width, inner = model.hidden_size, model.intermediate_size
  per_token = 2 * (4 * width**2 + 2 * width * inner)
  inner_layer = n * per_token + 4 * n**2 * width
  # One query goes through the projections of keys and values instead of the
  # tokens, see models/layers.py.
  last_layer = np.where(
      q == 1, per_token + 4 * n * model.num_heads * width,
      n * 4 * width**2 + q * 2 * (2 * width**2 + 2 * width * inner)
      + 4 * n * q * width)
  return float(np.sum((model.num_layers - 1) * inner_layer + last_layer))


def queue_work(model: settings.Model, lengths: np.ndarray,
               widths: Sequence[int], chunk: int) -> Work:
  """Returns what the scorer's queue does for rows of these lengths."""
  ordered = np.sort(lengths)[::-1]
  heads = ordered[::chunk]
  padded = chunk * sum(min(w for w in widths if w >= h) for h in heads)
  return Work(encoder_flop(model, lengths, 1), float(np.sum(lengths)), padded)


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


def gradient_flop(config: settings.Settings, batch: arrays.MicroBatch,
                  num_targets: float, num_corrected: float) -> float:
  """Returns the FLOP of an update's passes with gradient.

  The kept negatives are taken to be as long as the pool on average.

  Args:
    config: counts and phase.
    batch: as above.
    num_targets: masked positions, of all copies of all positives.
    num_corrected: positions that word correction reads.
  """
  counts, model = config.negatives, config.model
  tokens = batch.texts.num_tokens.reshape(-1)
  regions = batch.images.num_regions.reshape(-1)
  flop = counts.num_copies * encoder_flop(model, tokens + regions, tokens)
  flop += encoder_flop(model, tokens + regions, 1)
  for others in (tokens + np.mean(batch.pool_images.num_regions),
                 regions + np.mean(batch.pool_texts.num_tokens)):
    flop += counts.num_hard * encoder_flop(model, others, 1)
  outputs = tokens if config.phase == 'dc' else 1
  flop += counts.num_hard * encoder_flop(model, tokens + regions, outputs)
  words = num_targets + (num_corrected if config.phase == 'dc' else 0)
  width = model.hidden_size
  flop += words * 2 * (width**2 + width * model.vocab_size)
  return _WITH_GRADIENT * flop


def gradient_tokens(config: settings.Settings, batch: arrays.MicroBatch,
                    widths: Sequence[int]) -> tuple[float, float]:
  """Returns real and padded tokens of the forward passes with gradient.

  Of the kept negatives' lengths only those of the pool are known; its first h
  stand for them.
  """
  counts = config.negatives
  real = padded = 0.0
  for i in range(len(batch.texts.num_tokens)):
    tokens, regions = (x[i][:, None] for x in (batch.texts.num_tokens,
                                               batch.images.num_regions))
    own = tokens + regions
    hard = [tokens + batch.pool_images.num_regions[i][None, :counts.num_hard],
            regions + batch.pool_texts.num_tokens[i][None, :counts.num_hard],
            own, np.repeat(own, counts.num_hard, axis=1)]
    for rows in (np.repeat(own, counts.num_copies, axis=1),
                 np.concatenate(hard, axis=1)):
      lengths = rows.reshape(-1)
      work = queue_work(config.model, lengths, widths, queue.even_chunk(
          len(lengths), config.compute.gradient_rows))
      real, padded = real + work.real_tokens, padded + work.padded_tokens
  return real, padded
