"""FLOP that a micro-batch needs, whoever computes them and how.

What is counted are real tokens of rows that have to be run, once each:
candidates that are scored are valid and distinct, a row whose gradient is zero
(a triplet within its margin) has no backward pass, texts and images are
embedded as often as there are draws of dropout. Not counted is what a step does
beyond: padding, activations that it computes anew, repetitions, states that
nothing reads (of regions in the last layer, where words are read, and of pairs
that share a chunk with such). So a rate of these FLOP divided by the device's
peak is what is known as model FLOP utilisation, and rises with nothing but
speed.

The losses' weights are taken to be above 0; see `models.flop` for what is
left out. With `quirks.other_caption` L_i is counted at the first positive.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays
from tagsdc_jax.models import flop
from tagsdc_jax.negatives import generating
from tagsdc_jax.training import candidates, passes


class HasGradient(NamedTuple):
  """Which kept negatives the triplet losses' gradient reaches, bool [B, H]."""
  images: jax.Array
  texts: jax.Array
  sentences: jax.Array


def of_matching(task: passes.Task, batch: arrays.MicroBatch,
                is_target: jax.Array, partners: jax.Array,
                is_counted: jax.Array) -> jax.Array:
  """Returns the GFLOP per positive of pretraining, float32 [].

  Args:
    task: network and settings.
    batch: captions and images.
    is_target: bool [B, K, L].
    partners: int32 [B, n], images that each caption is run with.
    is_counted: bool [B, n], of these the ones that the loss counts.
  """
  model = task.model.config
  lengths = (batch.texts.num_tokens[:, None]
             + batch.images.num_regions[partners])
  pairs = jnp.where(is_counted, flop.scored(model, lengths), 0)
  images = flop.regions(model, batch.images.num_regions)
  total = (_masked(task, batch, is_target)
           + flop.WITH_GRADIENT * jnp.sum(pairs)
           + flop.REGIONS_WITH_GRADIENT * jnp.sum(images))
  return 1e-9 * total / len(lengths)


def of_negatives(task: passes.Task, batch: arrays.MicroBatch,
                 generated: generating.Generated, hardest: candidates.Hardest,
                 has_gradient: HasGradient) -> jax.Array:
  """Returns the GFLOP per positive of stage 1 or 2, float32 [].

  Args:
    task: network and settings; the phase decides whether words are read.
    batch: positives and pool.
    generated: refilled sentences.
    hardest: which candidates were kept.
    has_gradient: of the kept negatives; of texts and sentences only those
      that count.
  """
  total = (_masked(task, batch, generated.is_target)
           + _candidates(task, batch, generated)
           + _kept(task, batch, hardest, has_gradient))
  if task.settings.phase == 'dc':
    total += (flop.WITH_GRADIENT * flop.word(task.model.config)
              * _num_corrected(task, generated, hardest))
  return 1e-9 * total / len(hardest.is_filled)


def _masked(task: passes.Task, batch: arrays.MicroBatch,
            is_target: jax.Array) -> jax.Array:
  """The masked copies, their targets' words and the images."""
  model = task.model.config
  tokens, regions = batch.texts.num_tokens, batch.images.num_regions
  rows = is_target.shape[1] * flop.encoder(model, tokens + regions, tokens)
  return (flop.WITH_GRADIENT * (
      jnp.sum(rows) + flop.word(model) * jnp.sum(is_target))
          + flop.REGIONS_WITH_GRADIENT * jnp.sum(flop.regions(model, regions)))


def _candidates(task: passes.Task, batch: arrays.MicroBatch,
                generated: generating.Generated) -> jax.Array:
  """The three candidate sets, without gradient."""
  model = task.model.config
  tokens = batch.texts.num_tokens[:, None]
  regions = batch.images.num_regions[:, None]
  pool_regions = batch.pool_images.num_regions
  first = candidates.first_equal_texts(batch.pool_texts)
  is_scored = (candidates.other_texts(batch)
               & (first == jnp.arange(len(first)))[None])
  images = flop.scored(model, tokens + pool_regions[None])
  texts = flop.scored(model, regions + batch.pool_texts.num_tokens[None])
  sentences = flop.scored(model, tokens + regions)
  return (jnp.sum(images) + jnp.sum(is_scored * texts)
          + jnp.sum(generated.is_valid * sentences)
          + jnp.sum(flop.regions(model, regions))
          + jnp.sum(flop.regions(model, pool_regions)))


def _kept(task: passes.Task, batch: arrays.MicroBatch,
          hardest: candidates.Hardest,
          has_gradient: HasGradient) -> jax.Array:
  """The positives and their kept negatives, with gradient."""
  model = task.model.config
  tokens = batch.texts.num_tokens[:, None]
  regions = batch.images.num_regions[:, None]
  hard_regions = batch.pool_images.num_regions[hardest.images]
  texts = batch.pool_texts.num_tokens[hardest.texts] + regions
  has_any = jnp.any(jnp.concatenate(has_gradient, 1), 1, keepdims=True)
  sentence = flop.scored(model, tokens + regions)
  pulls_back = has_gradient.sentences
  if task.settings.phase == 'dc':  # All of their words are read.
    sentence = (flop.encoder(model, tokens + regions, tokens)
                + flop.pooled(model))
    pulls_back = hardest.is_filled

  def run(row_flop: jax.Array, pulled_back: jax.Array) -> jax.Array:
    backward = flop.WITH_GRADIENT - 1
    return jnp.sum(row_flop * (1 + backward * pulled_back))

  return (run(flop.scored(model, tokens + regions), has_any)
          + run(flop.scored(model, tokens + hard_regions), has_gradient.images)
          + run(flop.scored(model, texts) * hardest.is_other,
                has_gradient.texts)
          + run(sentence * hardest.is_filled, pulls_back)
          + jnp.sum(flop.regions(model, hard_regions)
                    * (1 + has_gradient.images))
          + flop.REGIONS_WITH_GRADIENT * jnp.sum(flop.regions(model, regions)))


def _num_corrected(task: passes.Task, generated: generating.Generated,
                   hardest: candidates.Hardest) -> jax.Array:
  """Positions that word correction reads."""
  copies = hardest.sentences // task.settings.negatives.num_samples
  targets = generating.take_rows(jnp.sum(generated.is_target, -1), copies)
  return jnp.sum(targets * hardest.is_filled)
