"""Runs with the preset `as_released`: both stages, and a resumed one."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.runs import training
from tagsdc_jax.training import checkpoints
from tests import tiny


def _settings(phase, data_dir, **changes):
  quirks = settings.Quirks(
    **{
      key.removeprefix('quirks.'): value
      for key, value in settings.PRESETS['as_released'].items()
      if key.startswith('quirks.')
    }
  )
  base = tiny.make_settings(
    phase,
    data_dir,
    preset='as_released',
    quirks=quirks,
    num_devices=1,
    batch=settings.Batch(positives=1, micro_batches=4),
    **changes,
  )
  return dataclasses.replace(
    base, negatives=dataclasses.replace(base.negatives, exclude='caption')
  )


def _stage_1(data_dir, stop_at_update):
  # Three of four updates: stage 2 has the evaluation that follows the last.
  return _settings(
    'tags', data_dir, eval_every=0, stop_at_update=stop_at_update
  )


@pytest.fixture(scope='module')
def tags_run(world_dir, tmp_path_factory, shared_updates):
  folder = tmp_path_factory.mktemp('released') / 'tags'
  return folder, training.train(_stage_1(world_dir, 3), folder)


@pytest.fixture(scope='module')
def stopped_run(world_dir, tmp_path_factory, shared_updates):
  folder = tmp_path_factory.mktemp('stopped') / 'tags'
  training.train(_stage_1(world_dir, 1), folder)
  return folder


def test_stage_1_resumes_exactly(tags_run, stopped_run, world_dir, tmp_path):
  _, whole = tags_run
  shutil.copytree(stopped_run, tmp_path / 'run')
  continued = training.train(_stage_1(world_dir, 3), tmp_path / 'run')
  assert continued['parameters_sha256'] == whole['parameters_sha256']


def test_goes_on_with_inputs_in_slices(
  tags_run, stopped_run, world_dir, tmp_path
):
  folder, _ = tags_run
  shutil.copytree(stopped_run, tmp_path / 'run')
  config = _stage_1(world_dir, 2)
  training.train(
    dataclasses.replace(
      config,
      compute=dataclasses.replace(config.compute, micro_batches_at_once=2),
    ),
    tmp_path / 'run',
  )
  whole, sliced = (
    checkpoints.load(f / 'checkpoints' / 'newest' / '2')
    for f in (folder, tmp_path / 'run')
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    whole.parameters,
    sliced.parameters,
  )


def test_stage_2_follows(tags_run, world_dir, tmp_path):
  folder, _ = tags_run
  results = training.train(
    _settings('dc', world_dir, num_updates=3, init_from=str(folder)),
    tmp_path / 'dc',
  )
  assert results['updates'] == 3
  assert results['evaluation']['image_retrieval']['r10'] > 0
