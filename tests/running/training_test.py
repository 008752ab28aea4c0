"""Whole runs on the tiny world: phases, resume, folders, results."""

import dataclasses
import json

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.running import building, training
from tagsdc_jax.training import checkpoints
from tests import tiny


@pytest.fixture(scope='module')
def runs(world_dir, tmp_path_factory):
  """The three phases, each from the one before, in one folder."""
  root = tmp_path_factory.mktemp('runs')
  before = ''
  for phase in ('pretrain', 'tags', 'dc'):
    config = tiny.make_settings(phase, world_dir, init_from=before,
                                keep_at_updates=(1, 3))
    training.train(config, root / phase)
    before = str(root / phase)
  return root


@pytest.mark.parametrize('phase', ['pretrain', 'tags', 'dc'])
def test_results(runs, phase):
  results = json.loads((runs / phase / 'results.json').read_text())
  assert results['phase'] == phase and results['updates'] == 4
  for split, images in (('validation', 8), ('evaluation', 24)):
    result = results[split]
    assert result['images'] == images
    assert result['captions'] == 5 * images
    for way in ('image_retrieval', 'text_retrieval'):
      assert 0 <= result[way]['r1'] <= result[way]['r10'] <= 100
  lines = [json.loads(line) for line in
           (runs / phase / 'metrics.jsonl').read_text().splitlines()]
  assert [x['update'] for x in lines if x['kind'] == 'train'] == [1, 2, 3, 4]
  assert [x['update'] for x in lines if x['kind'] == 'validation'] == [2, 4]
  assert list((runs / phase / 'tensorboard').iterdir())
  folders = {kind: sorted(int(p.name) for p in
                          (runs / phase / 'checkpoints' / kind).iterdir()
                          if p.name.isdigit())
             for kind in checkpoints.KINDS}
  assert folders['newest'] == [2, 4] and folders['kept'] == [1, 3]
  assert len(folders['best']) == 1


def test_hash_is_of_the_saved_parameters(runs):
  results = json.loads((runs / 'dc' / 'results.json').read_text())
  loaded = checkpoints.load(runs / 'dc' / 'checkpoints' / 'newest' / '4')
  assert (building.parameters_sha256(loaded.parameters)
          == results['parameters_sha256'])


@pytest.mark.parametrize('phase', ['pretrain', 'tags', 'dc'])
def test_resume_is_bit_for_bit(runs, phase, world_dir, tmp_path):
  before = {'pretrain': '', 'tags': str(runs / 'pretrain'),
            'dc': str(runs / 'tags')}[phase]
  config = tiny.make_settings(phase, world_dir, init_from=before)
  for stop in (1, 3, 0):
    results = training.train(
        dataclasses.replace(config, stop_at_update=stop), tmp_path / 'run')
    assert ('evaluation' in results) == (stop == 0)
    assert results['updates'] == (stop or 4)
  whole = json.loads((runs / phase / 'results.json').read_text())
  assert results['parameters_sha256'] == whole['parameters_sha256']
  for split in ('validation', 'evaluation'):
    for way in ('image_retrieval', 'text_retrieval'):
      assert results[split][way] == whole[split][way]


def test_a_finished_run_stays_as_it_is(runs, world_dir):
  before = json.loads((runs / 'pretrain' / 'results.json').read_text())
  config = tiny.make_settings('pretrain', world_dir, keep_at_updates=(1, 3))
  again = training.train(config, runs / 'pretrain')
  assert again['parameters_sha256'] == before['parameters_sha256']


def test_other_settings_are_refused(runs, world_dir):
  config = tiny.make_settings('pretrain', world_dir, seed=3)
  with pytest.raises(errors.UserError, match='seed was 0, now 3'):
    training.train(config, runs / 'pretrain')


def test_foreign_folder_is_refused(world_dir, tmp_path):
  (tmp_path / 'letter.txt').write_text('dear')
  with pytest.raises(errors.UserError, match='not empty'):
    training.train(tiny.make_settings('pretrain', world_dir), tmp_path)


def test_checkpoint_of_another_model_is_refused(runs, world_dir, tmp_path):
  config = tiny.make_settings('tags', world_dir,
                              init_from=str(runs / 'pretrain'))
  config = dataclasses.replace(config, model=dataclasses.replace(
      config.model, hidden_size=8))
  with pytest.raises(errors.UserError, match='of another model: .* expected'):
    training.train(config, tmp_path / 'run')


def test_later_phase_cannot_start_an_earlier_one(runs, world_dir, tmp_path):
  config = tiny.make_settings('tags', world_dir, init_from=str(runs / 'dc'))
  with pytest.raises(errors.UserError, match='comes after tags'):
    training.train(config, tmp_path / 'run')


def test_heads_between_phases(runs):
  def kept(phase, update):
    return checkpoints.load(
        runs / phase / 'checkpoints' / 'kept' / str(update)).parameters
  # itm_output is trained in pretraining and left alone from then on.
  start = checkpoints.load(runs / 'pretrain').parameters['itm_output']
  for phase in ('tags', 'dc'):
    np.testing.assert_array_equal(kept(phase, 1)['itm_output']['kernel'],
                                  start['kernel'])
  # The first update is small: the new heads are still near their origin.
  rank = kept('tags', 1)['rank_output']['kernel'][:, 0]
  assert np.abs(rank - start['kernel'][:, 1]).max() < 0.02
  trained = checkpoints.load(runs / 'tags').parameters
  rank = kept('dc', 1)['rank_output']['kernel']
  assert np.abs(rank - trained['rank_output']['kernel']).max() < 0.02
  disc = kept('dc', 1)['disc_output']['kernel']
  assert np.abs(disc - start['kernel']).max() < 0.02
