"""The smallest real run: a tiny network on the tiny embedded world."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import assembling, loader, opening
from tagsdc_jax.engines import engine
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import setup
from tagsdc_jax.training import optimizer, state


def make_settings(
  phase: str, data_dir: str, **changes: object
) -> settings.Settings:
  """Settings of a few updates; keyword arguments replace whole parts.

  One layer and one length bucket, since compiling takes most of the time; the
  tests of engines and networks have several.
  """
  base = settings.Settings(
    phase=phase,
    num_updates=4,
    checkpoint_every=2,
    eval_every=2,
    log_every=1,
    data=settings.Data(root=data_dir, world_size='tiny', max_caption_tokens=16),
    model=settings.Model(
      num_layers=1,
      hidden_size=16,
      num_heads=2,
      intermediate_size=32,
      max_positions=32,
      dropout_rate=0.1,
      initializer_range=0.2,
    ),
    negatives=settings.Negatives(
      pool_size=6, num_hard=3, num_copies=3, num_samples=4, num_in_batch=2
    ),
    losses=settings.Losses(
      synthetic=1.0, mlm=0.5, discrimination=0.5, correction=0.5
    ),
    batch=settings.Batch(positives=3, micro_batches=4),
    optimizer=settings.Optimizer(learning_rate=1e-2, warmup_updates=2),
    compute=settings.Compute(
      target_chunk=8,
      score_tokens=150,
      gradient_tokens=150,
      num_score_buckets=1,
      num_gradient_buckets=1,
    ),
    evaluation=settings.Evaluation(
      tile_texts=16, tile_images=8, num_buckets=1, validation_images=8
    ),
  )
  return dataclasses.replace(base, **changes)


def write_config(path: pathlib.Path, config: settings.Settings) -> None:
  """Writes settings as a config file, for processes that a test starts."""
  flat = {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in settings.flatten(config).items()
  }
  path.write_text(
    'from tagsdc_jax import settings\ndef get_config():\n'
    '  config = settings.default_config()\n'
    f'  config.update_from_flattened_dict({flat!r})\n  return config\n',
    'utf-8',
  )


@functools.cache
def open_train(data_dir: str):
  """The training split and the shapes of its micro-batches."""
  config = settings.Data(root=data_dir, world_size='tiny')
  data = opening.open_split(config, 'train')
  return data, assembling.shapes_of(data)


def large_parameters(model: retrieval.RetrievalModel):
  """Much larger ones than fresh ones, so that scores differ visibly."""
  rng = np.random.default_rng(0)
  return jax.tree_util.tree_map_with_path(
    lambda path, s: rng.normal(path[-1].key == 'scale', 0.4, s.shape).astype(
      np.float32
    ),
    retrieval.parameter_shapes(model),
  )


def make_task(config: settings.Settings) -> engine.Task:
  """The task of these settings on the tiny world."""
  data, shapes = open_train(config.data.root)
  return setup.make_task(setup.with_data_sizes(config, data), data, shapes)


def make_source(config: settings.Settings) -> loader.MicroBatches:
  """Micro-batches by number."""
  data, shapes = open_train(config.data.root)
  return loader.MicroBatches(
    data,
    shapes,
    config.seed,
    config.batch.positives,
    0 if config.phase == 'pretrain' else config.negatives.pool_size,
  )


def make_updates(
  config: settings.Settings,
  num_devices: int,
  num_updates: int,
  num_slices: int = 1,
) -> list:
  """Batches of the first updates, stacked for the devices."""
  return list(
    loader.iterate_updates(
      make_source(config),
      micro_batches=config.batch.micro_batches,
      first_update=0,
      num_updates=num_updates,
      num_devices=num_devices,
      process=0,
      num_processes=1,
      num_threads=1,
      num_prefetched=1,
      num_slices=num_slices,
    )
  )


def make_state(task: engine.Task):
  """The optimizer and a fresh state on the host."""
  tx = optimizer.make_optimizer(
    task.settings.optimizer,
    task.settings.num_updates,
    setup.make_phase(task).untrained,
  )
  params = jax.tree.map(
    np.asarray, retrieval.init_parameters(task.model, jax.random.key(0))
  )
  return tx, state.TrainState(
    np.int32(0),
    params,
    jax.tree.map(np.asarray, tx.init(params)),
    params if setup.make_phase(task).needs_start else None,
  )
