"""The runner: runs are shared, continued and divided; tables by hand."""

import dataclasses
import json

import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.commands import study as study_command
from tagsdc_jax.runs import chain, folder
from tagsdc_jax.studies import ablation, built_in, running, study, summary
from tagsdc_jax.studies.measures import registry


def _base():
  return study.Base(configs.load_phases('world', ()))


@pytest.fixture(name='trained')
def _trained(monkeypatch):
  """Trainings that only note what they were asked for."""
  asked = []

  def train_from(start, config, run_dir):
    assert not start
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / folder.RESULTS
    if not path.exists():
      asked.append((run_dir.name, config))
      per_positive = 2.0 if config.losses.synthetic else 1.0
      (run_dir / folder.METRICS).write_text(
        json.dumps(
          {'update': 1, 'kind': 'train', 'gflop_per_positive': per_positive}
        )
        + '\n'
      )
      path.write_text(
        json.dumps({'evaluation': {}, 'updates': config.num_updates})
      )
    return json.loads(path.read_text())

  monkeypatch.setattr(chain, 'train_from', train_from)

  def measure(subject):
    config = subject.trained.config
    is_tags = subject.trained.results and config.losses.synthetic
    right = (config.seed + 1) if is_tags else 0
    values = [[float(i < right), i // 2] for i in range(4)]
    return {'image R@1': {'all': values}, 'foils': {'a': values, 'b': values}}

  monkeypatch.setattr(
    registry,
    'MEASURES',
    dict.fromkeys(('recall', 'foils', 'half_truths'), measure),
  )
  return asked


def _runner(path, lines=None):
  return running.Runner(
    path, _base(), (lines if lines is not None else []).append
  )


def test_a_study_from_runs_to_the_page(trained, tmp_path, capsys):
  [page] = summary.run(['ablation'], _runner(tmp_path), 2, (0, 1))
  names = [name.partition('-')[0] for name, _ in trained]
  # Two seeds of nine arms; each is trained once.
  assert len(names) == len({name for name, _ in trained})
  assert names.count('tags') == 2 and len(names) == 18
  results = json.loads((tmp_path / 'ablation' / summary.RESULTS).read_text())
  rows = {row['label']: row for row in results['rows']}
  tailored = rows['stage 1: + tailored (TAGS)']
  # Seed 0 is right once of four, seed 1 twice.
  assert tailored['cells']['foils']['value'][0] == pytest.approx(37.5)
  assert tailored['cells']['foils']['change'][0] == pytest.approx(37.5)
  assert rows['pretraining']['cells']['foils']['change'] is None
  assert '+37.5' in capsys.readouterr().out
  text = page.read_text('utf-8')
  assert '<svg' in text and '&lt;svg' not in text
  assert 'stage 2: + both (DC)' in text and '+37.5' in text
  # An update with tailored negatives takes twice the FLOP of one without.
  assert rows['stage 1: hard retrieved only, FLOP of TAGS']['updates'] == 240
  assert tailored['updates'] == 120


def test_stage_2_starts_from_the_run_of_its_seed(trained, tmp_path):
  runner = _runner(tmp_path)
  done = runner.train(study.Run('dc', 'dc', {}, ablation.tags()), 3)
  assert done.config.seed == 3
  assert '/tags-seed3-' in done.config.init_from
  assert [name.partition('-')[0] for name, _ in trained] == ['tags', 'dc']


def test_equal_runs_of_other_studies_are_shared(trained, tmp_path):
  runner = _runner(tmp_path)
  runner.train(study.Run('tags', 'tags'), 0)
  same = runner.train(
    study.Run('weight_3', 'tags', {'losses.synthetic': 3.0}), 0
  )
  assert len(trained) == 1 and same.path.name.startswith('tags-')
  runner.train(study.Run('other', 'tags', {'losses.synthetic': 2.0}), 0)
  assert len(trained) == 2


def test_parts_divide_the_seeds(trained, tmp_path):
  lines = []
  assert not summary.run(['length_bias'], _runner(tmp_path, lines), 2, (0, 2))
  assert 'others are missing' in lines[-1]
  [page] = summary.run(['length_bias'], _runner(tmp_path, lines), 2, (1, 2))
  [whole] = summary.run(['length_bias'], _runner(tmp_path / 'x'), 2, (0, 1))
  assert page.read_bytes() == whole.read_bytes()


def test_how_many_are_left_is_said(trained, tmp_path, monkeypatch):
  clock = iter(range(0, 10_000, 60))
  monkeypatch.setattr(summary.time, 'monotonic', lambda: float(next(clock)))
  lines = []
  summary.run(['length_bias'], _runner(tmp_path, lines), 2, (0, 1))
  left = [line for line in lines if ' of 8' in line]
  assert len(left) == 8
  assert left[0] == '1 of 8: pretraining, seed 0'
  # Each took one minute.
  assert left[5] == (
    '6 of 8, about 03:00 left: hard retrieved negatives only, seed 1'
  )


def test_results_of_other_settings_are_not_replaced_silently(trained, tmp_path):
  lines = []
  runner = dataclasses.replace(_runner(tmp_path, lines), named='world x=1')
  summary.run(['length_bias'], runner, 2, (0, 1))
  summary.run(['length_bias'], runner, 2, (0, 1))
  assert not any('replaced' in line for line in lines)
  [page] = summary.run(['length_bias'], runner, 1, (0, 1))
  assert 'is replaced: it was of 2 seeds of world x=1; give' in lines[-1]
  assert 'settings world x=1' in page.read_text('utf-8')


def test_the_settings_have_a_name():
  config = configs.load_phases(
    'world', ['--config.losses.mlm=7', '--config.data.root=/x']
  )
  assert study_command._named('world', config) == 'world losses.mlm=7.0'


def test_weights_that_nobody_named(trained, tmp_path):
  base = study.Base(configs.load_phases('flickr30k_base', ()))
  runner = dataclasses.replace(_runner(tmp_path), base=base)
  with pytest.raises(errors.UserError, match='name the weights'):
    runner.train(study.Run('tags', 'tags'), 0)


def test_measures_are_stored(trained, tmp_path, monkeypatch):
  runner = _runner(tmp_path)
  done = runner.train(study.Run('tags', 'tags'), 0)
  first = runner.measure(done, 'foils')
  monkeypatch.setattr(registry, 'MEASURES', {})
  assert runner.measure(done, 'foils') == json.loads(json.dumps(first))


@pytest.mark.parametrize('name', sorted(built_in.STUDIES))
@pytest.mark.parametrize('family', ['world', 'own_small'])
def test_every_arm_has_settings_and_its_reference(name, family):
  base = study.Base(configs.load_phases(family, ()))
  one = built_in.STUDIES[name]
  arms = one.arms(base)
  labels = [arm.label for arm in arms]
  assert len(set(labels)) == len(labels)
  assert {arm.reference for arm in arms} <= {*labels, ''}
  assert set(one.measures) <= set(registry.MEASURES)
  for arm in arms:
    if arm.run is not None:
      config = study.settings_of(base, arm.run, 1, 'x')
      assert (config.seed, config.init_from) == (1, 'x')
      settings.from_flat(settings.flatten(config))


def test_own_data_is_pretrained_once(trained, tmp_path):
  base = study.Base(configs.load_phases('own_small', ()))
  runner = dataclasses.replace(_runner(tmp_path), base=base)
  for seed in (0, 1):
    runner.train(study.Run('tags', 'tags'), seed)
  names = [name.partition('-')[0] for name, _ in trained]
  assert names == ['pretrain', 'tags', 'tags']
  assert 'pretrain-seed0-' in trained[1][1].init_from
