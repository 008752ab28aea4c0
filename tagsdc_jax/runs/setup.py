"""Builds the network and everything else that is fixed during a run."""

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import errors, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.engines import engine, padded
from tagsdc_jax.engines.packed import chunks
from tagsdc_jax.engines.packed import engine as packed
from tagsdc_jax.models import heads
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.objectives import hard_negatives, pretraining
from tagsdc_jax.objectives import parts as parts_of
from tagsdc_jax.released import objective as released
from tagsdc_jax.training import step

# By the value of `compute.engine`.
ENGINES: dict[str, Callable[[engine.Task], engine.Engine]] = {
  'packed': packed.Packed,
  'padded': padded.Padded,
}

# Pairs sampled for the distribution of text and image lengths together.
_SAMPLED_PAIRS = 100_000
_MOST_INT32 = 2**31 - 1


def with_data_sizes(
  config: settings.Settings, data: dataset.RetrievalDataset
) -> settings.Settings:
  """Returns the settings with vocabulary and feature size filled in.

  Raises:
    UserError: if the settings specify sizes that differ from the data's.
  """
  _check_sizes(config.model, data)
  return dataclasses.replace(
    config, model=dataclasses.replace(config.model, **_sizes_of(data))
  )


def check_data(config: settings.Model, data: dataset.RetrievalDataset) -> None:
  """Raises UserError if a split does not fit the network."""
  _check_sizes(config, data)
  check_positions(config, data)


def _sizes_of(data: dataset.RetrievalDataset) -> dict[str, Any]:
  return {'vocab_size': data.vocabulary.size, 'feature_size': data.feature_size}


def _check_sizes(
  config: settings.Model, data: dataset.RetrievalDataset
) -> None:
  units = {
    'vocab_size': 'tokens in its vocabulary',
    'feature_size': 'numbers per region',
  }
  for name, size in _sizes_of(data).items():
    wanted = getattr(config, name)
    if wanted not in (0, size):
      raise errors.UserError(
        f'{data.name} has {size} {units[name]}, but the network expects '
        f'{wanted} (model.{name}); pass data made like the training data, '
        f"or train with model.{name}=0 to use the data's size"
      )


def make_model(config: settings.Settings) -> RetrievalModel:
  """Returns the network for settings with the data's sizes.

  Raises:
    UserError: if the settings ask for cuDNN without a GPU.
  """
  compute = config.compute
  if compute.attention == 'cudnn' and jax.default_backend() != 'gpu':
    raise errors.UserError(
      'compute.attention=cudnn needs a GPU, but JAX uses the '
      f'{jax.default_backend()} here; set compute.attention=plain'
    )
  return RetrievalModel(
    config.model,
    dtype=jnp.dtype(compute.dtype),
    attention=compute.attention,
    recompute_layers=compute.recompute_layers,
    matmul_precision=compute.matmul_precision,
  )


def check_positions(
  config: settings.Model, data: dataset.RetrievalDataset
) -> None:
  """Raises UserError if captions are longer than the network has positions.

  Otherwise, lookups beyond the table would silently return its last row.
  """
  longest = max(len(c.token_ids) for c in data.captions) + 2
  if longest > config.max_positions:
    raise errors.UserError(
      f'captions of {data.name} have up to {longest} tokens including [CLS] '
      f'and [SEP], but model.max_positions is {config.max_positions}; train '
      'with more positions, or with shorter captions '
      '(data.max_caption_tokens)'
    )


def _check_unit(unit: str, data: dataset.RetrievalDataset) -> None:
  if unit not in settings.PHRASE_KINDS:
    return
  kind = 1 + settings.PHRASE_KINDS.index(unit)
  if not any(kind in caption.phrase_kinds for caption in data.captions):
    raise errors.UserError(
      f'negatives.unit={unit} needs captions with {unit} phrases, but '
      f'{data.name} has none; set negatives.unit=phrase or token'
    )


def make_task(
  config: settings.Settings,
  data: dataset.RetrievalDataset,
  shapes: assembling.Shapes,
) -> engine.Task:
  """Returns what is fixed during training.

  Args:
    config: settings with the data's sizes.
    data: the training split; its lengths determine the length buckets.
    shapes: static sizes of its micro-batches.
  Raises:
    UserError: if captions are longer than the network has positions, no phrase
      is of the kind to be masked, or there are more refilled words than 32-bit
      integers can count.
  """
  check_positions(config.model, data)
  _check_unit(config.negatives.unit, data)
  length = shapes.max_tokens + 2
  _check_sentences(config, length)
  # A fixed seed, so that a continued run has the same buckets.
  rng = np.random.default_rng(0)
  texts = np.array([len(c.token_ids) + 2 for c in data.captions])
  sums = rng.choice(texts, _SAMPLED_PAIRS) + rng.choice(
    data.num_regions, _SAMPLED_PAIRS
  )
  score_buckets, gradient_buckets = (
    chunks.length_buckets(sums, length + shapes.max_regions, number)
    for number in (
      config.compute.num_score_buckets,
      config.compute.num_gradient_buckets,
    )
  )
  return engine.Task(
    model=make_model(config),
    settings=config,
    mask_id=data.vocabulary.mask,
    random_range=data.vocabulary.random_range,
    score_buckets=score_buckets,
    gradient_buckets=gradient_buckets,
  )


def _check_sentences(config: settings.Settings, length: int) -> None:
  n = config.negatives
  sentences = config.batch.positives * n.num_copies * n.num_samples
  if config.phase != 'pretrain' and sentences * length > _MOST_INT32:
    raise errors.UserError(
      'batch.positives x negatives.num_copies x negatives.num_samples must '
      f'be at most {_MOST_INT32 // length} with captions of up to {length} '
      f'tokens, got {config.batch.positives} x {n.num_copies} x '
      f'{n.num_samples}'
    )


class Phase(NamedTuple):
  """The objective of a run, with its requirements."""

  objective: step.Objective
  untrained: tuple[str, ...]  # Parameters that no loss reads.
  needs_start: bool  # Whether it uses the phase's initial parameters.


def make_phase(task: engine.Task) -> Phase:
  """Returns the objective of the settings: ours, or the release's.

  Raises:
    UserError: if the user's own sources or losses cannot be used.
  """
  config, own = task.settings, make_engine(task)
  if config.phase == 'pretrain':
    return Phase(
      functools.partial(pretraining.loss, own),
      untrained(pretraining.TRAINED_HEADS),
      False,
    )
  parts = parts_of.of_settings(config)
  minimized = (
    functools.partial(released.loss, own)
    if config.quirks.plain_step
    else functools.partial(hard_negatives.loss, own, parts)
  )
  return Phase(
    minimized,
    untrained(parts.trained_heads),
    any(one.needs_start for one in parts.sources),
  )


def make_engine(task: engine.Task) -> engine.Engine:
  """Returns the engine that `compute.engine` selects."""
  return ENGINES[task.settings.compute.engine](task)


def untrained(trained_heads: Collection[str]) -> tuple[str, ...]:
  """Returns the parameters that stay unchanged: no gradient, no decay.

  Args:
    trained_heads: the heads that a loss reads.
  """
  return (
    *(name for name in heads.NAMES if name not in trained_heads),
    'region_mask_embedding',
  )
