"""Tests of making a folder of weights out of a run."""

import json

import numpy as np
import pytest

from tagsdc_jax import errors, settings, shipped
from tagsdc_jax.runs import folder, shipping
from tagsdc_jax.runtime import hashing
from tagsdc_jax.training import checkpoints, state


@pytest.fixture
def run(tmp_path):
  """A finished run of three updates, of made-up parameters."""
  path = tmp_path / 'run'
  path.mkdir()
  params = {'dense': {'kernel': np.arange(6, dtype=np.float32).reshape(2, 3)}}
  saves = checkpoints.Checkpoints(path)
  config = settings.Settings(
    phase='pretrain', init_from='runs/first', batch=settings.Batch(positives=8)
  )
  last = state.TrainState(np.int32(3), params, {'moments': np.zeros(2)})
  saves.save(
    'newest',
    last,
    {
      'phase': 'pretrain',
      'settings': settings.flatten(config),
      'versions': {},
      'best_mean_r1': 1.0,
    },
  )
  saves.wait()
  saves.close()
  (path / folder.METRICS).write_text('{"update": 1, "kind": "train"}\n')
  (path / folder.RESULTS).write_text(
    json.dumps(
      {
        'updates': 3,
        'seconds': 2.5,
        'evaluation': {'mean_r1': 1.0},
        'measures': None,
      }
    )
  )
  first = tmp_path / 'first'
  folder.claim(first, settings.Settings(phase='pretrain'))
  (first / folder.METRICS).write_text('{"update": 2, "kind": "train"}\n')
  results = {'updates': 4, 'seconds': 1.0, 'evaluation': {}}
  (first / folder.RESULTS).write_text(json.dumps(results))
  return first, path, params


def test_what_is_shipped_is_the_run(run, tmp_path):
  first, path, params = run
  target = tmp_path / 'made'
  for _ in range(2):  # The second one replaces the first.
    recipe = shipping.ship(first, path, target, ['make it'])
  loaded = checkpoints.load(target)
  np.testing.assert_array_equal(
    loaded.parameters['dense']['kernel'], params['dense']['kernel']
  )
  assert loaded.about['phase'] == 'pretrain' and loaded.about['update'] == 3
  assert not (target / 'optimizer').exists()
  for file in target.rglob('*'):  # No path of the machine that made it.
    if file.is_file():
      assert str(tmp_path).encode() not in file.read_bytes(), file
  assert recipe == json.loads((target / shipped.RECIPE).read_text())
  assert recipe['commands'] == ['make it'] and recipe['updates'] == 3
  assert recipe['parameters_sha256'] == hashing.parameters_sha256(params)
  assert recipe['updates_before'] == 4 and recipe['seconds'] == 3.5
  assert loaded.about['settings']['init_from'] == ''
  for source, name in ((path, folder.METRICS), (first, shipped.FIRST_METRICS)):
    log = (source / folder.METRICS).read_text()
    assert (target / name).read_text() == log


@pytest.mark.parametrize('which', [0, 1])
def test_an_unfinished_run_is_refused(run, tmp_path, which):
  path = run[which]
  results = json.loads((path / folder.RESULTS).read_text())
  del results['evaluation']
  (path / folder.RESULTS).write_text(json.dumps(results))
  with pytest.raises(errors.UserError, match=f'{path} must be a finished run'):
    shipping.ship(*run[:2], tmp_path / 'made', [])
  assert not (tmp_path / 'made').exists()


def test_a_first_run_that_started_elsewhere_is_refused(run, tmp_path):
  first, path, _ = run
  (first / folder.CONFIG).unlink()
  other = settings.Settings(phase='pretrain', init_from='runs/other')
  folder.claim(tmp_path / 'other', other)
  (first / folder.CONFIG).write_bytes(
    (tmp_path / 'other' / folder.CONFIG).read_bytes()
  )
  with pytest.raises(errors.UserError, match='must be a run from scratch'):
    shipping.ship(first, path, tmp_path / 'made', [])
