"""Tests of chains of runs: what is trained, from what, and what is read."""

import dataclasses
import json

import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.runs import chain, folder, training
from tests import tiny

PHASES = settings.PHASES


@pytest.fixture(name='called')
def _called(monkeypatch):
  """The runs that are trained, by a stand-in that only writes their results."""
  called = []

  def train(config, run_dir):
    called.append((config.phase, config.init_from, run_dir))
    sized = dataclasses.replace(
      config,
      model=dataclasses.replace(config.model, vocab_size=11, feature_size=5),
    )
    with folder.claimed(run_dir, sized):
      last = config.stop_at_update or config.num_updates
      results = {'phase': config.phase, 'updates': last}
      if last == config.num_updates:
        results['evaluation'] = {'images': len(called)}
      (run_dir / folder.RESULTS).write_text(json.dumps(results))
    return results

  monkeypatch.setattr(training, 'train', train)
  return called


def _configs(**changes):
  return {
    phase: tiny.make_settings(phase, 'nowhere', **changes) for phase in PHASES
  }


def test_each_phase_starts_from_the_one_before(called, tmp_path):
  configs = _configs(init_from='weights')
  found = chain.train_phases(tmp_path / 'run', configs)
  places = [tmp_path / 'run' / phase for phase in PHASES]
  assert called == [
    ('pretrain', 'weights', places[0]),
    ('tags', str(places[0]), places[1]),
    ('dc', str(places[1]), places[2]),
  ]
  assert list(found) == list(PHASES)
  assert found['dc']['evaluation'] == {'images': 3}
  # All have finished, so a second call only reads them.
  assert chain.train_phases(tmp_path / 'run', configs) == found
  assert len(called) == 3


def test_a_killed_chain_goes_on(called, tmp_path):
  configs = _configs()
  chain.train_phases(tmp_path, configs)
  called.clear()
  (tmp_path / 'tags' / folder.RESULTS).unlink()
  (tmp_path / 'dc' / folder.RESULTS).write_text('{"upda')
  chain.train_phases(tmp_path, configs)
  assert [phase for phase, *_ in called] == ['tags', 'dc']


def test_a_phase_that_stops_early_ends_the_chain(called, tmp_path):
  configs = _configs()
  configs['tags'] = dataclasses.replace(configs['tags'], stop_at_update=2)
  found = chain.train_phases(tmp_path, configs)
  assert list(found) == ['pretrain', 'tags']
  assert [phase for phase, *_ in called] == ['pretrain', 'tags']
  # Where it stopped may change, so that it can go on.
  found = chain.train_phases(tmp_path, _configs())
  assert list(found) == list(PHASES)
  assert [phase for phase, *_ in called][2:] == ['tags', 'dc']


def test_finished_phases_of_other_settings_are_refused(called, tmp_path):
  chain.train_phases(tmp_path, _configs())
  with pytest.raises(errors.UserError, match='seed was 0, now 3'):
    chain.train_phases(tmp_path, _configs(seed=3))
  model = dataclasses.replace(_configs()['dc'].model, vocab_size=12)
  with pytest.raises(errors.UserError, match='vocab_size was 11, now 12'):
    chain.train_phases(tmp_path, _configs(model=model))
  # What affects no parameter may change.
  chain.train_phases(tmp_path, _configs(log_every=7))
  assert len(called) == 3


def test_the_folder_of_a_single_run_is_refused(called, tmp_path):
  training.train(_configs()['tags'], tmp_path / 'run')
  with pytest.raises(errors.UserError, match='is the folder of a single run'):
    chain.train_phases(tmp_path / 'run', _configs())
