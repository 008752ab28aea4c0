"""Folders -> what the page is told; nothing is run but for the folders."""

import dataclasses
import json

import pytest

from tagsdc_jax import errors, files, shipped
from tagsdc_jax.reporting.page import content, rendering
from tagsdc_jax.runs import examples, folder, report
from tests import tiny

RECALLS = {
  'image_retrieval': {'r1': 1.0, 'r5': 2.0, 'r10': 3.0},
  'text_retrieval': {'r1': 4.0, 'r5': 5.0, 'r10': 6.0},
}
SHARES = {'false': 70.0, 'still_true': 20.0, 'not_a_sentence': 10.0}
FOUND = content.Examples('dc', 4, 'world/test', (), (), 5, 5, True)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
  """Examples have their own test."""
  monkeypatch.setattr(examples, 'gather', lambda path: FOUND)


def _make_run(run_dir, phase, results=None, lines=()):
  config = tiny.make_settings(phase, 'nowhere')
  folder.claim(run_dir, config)
  (run_dir / 'metrics.jsonl').write_text(
    ''.join(f'{json.dumps(line)}\n' for line in lines), 'utf-8'
  )
  if results is not None:
    files.write_json(run_dir / 'results.json', results)
  return run_dir


def _line(update, loss, kind='train'):
  return {'update': update, 'kind': kind, 'loss': loss}


def test_a_finished_run(tmp_path):
  measures = {'foil_accuracy': {'test': {}}, 'retrieved_negatives': None}
  run_dir = _make_run(
    tmp_path / 'mine',
    'dc',
    {
      'phase': 'dc',
      'updates': 4,
      'seconds': 61.0,
      'evaluation': RECALLS | {'images': 24, 'captions': 120},
      'validation': RECALLS | {'images': 8, 'captions': 40},
      'parameters_sha256': 'abc',
      'measures': measures,
    },
    [_line(1, 3.0), _line(2, 2.0), _line(2, 9.0, 'validation')],
  )
  found = report.read_report(run_dir)
  assert found.name == 'mine'
  assert found.examples is FOUND and not found.notes
  (phase,) = found.phases
  assert phase.parameters_sha256 == 'abc'
  assert (phase.name, phase.updates, phase.seconds) == ('dc', 4, 61.0)
  assert phase.test['captions'] == 120 and phase.validation['images'] == 8
  assert phase.measures == measures | {'synthetic_negatives': None}
  assert phase.settings['num_updates'] == 4 and 'jax' in phase.versions
  assert [line['loss'] for line in phase.train] == [3.0, 2.0]
  assert [line['loss'] for line in phase.validations] == [9.0]


def test_lines_of_a_killed_run(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  lines = [_line(1, 5.0), _line(2, 4.0), _line(3, 3.0), _line(2, 4.5)]
  path.write_text(
    '\n'.join(map(json.dumps, lines)) + '\n{"update": 3, "ki', 'utf-8'
  )
  assert [(x['update'], x['loss']) for x in report.read_metrics(path)] == [
    (1, 5.0),
    (2, 4.5),
    (3, 3.0),
  ]
  assert report.read_metrics(tmp_path / 'other.jsonl') == []


@pytest.mark.parametrize('results', [None, {'phase': 'tags', 'updates': 2}])
def test_an_unfinished_run_has_a_page_that_says_so(
  tmp_path, results, monkeypatch
):
  def gather(path):
    raise errors.UserError(f'{path} has no checkpoint')

  monkeypatch.setattr(examples, 'gather', gather)
  run_dir = _make_run(
    tmp_path / 'begun', 'tags', results, [_line(1, 3.0), _line(2, 2.0)]
  )
  page = report.write_report(run_dir).read_text('utf-8')
  assert 'Stage 1 (TAGS) is not finished: 2 of 4 updates are done' in page
  assert 'There are no examples: ' in page and 'has no checkpoint.' in page
  assert 'Total loss' in page


def test_results_of_an_earlier_stop_are_not_shown(tmp_path):
  run_dir = _make_run(
    tmp_path / 'run',
    'tags',
    {'phase': 'tags', 'updates': 2, 'seconds': 9.0, 'parameters_sha256': 'old'},
    [_line(1, 3.0), _line(3, 2.0)],
  )
  (phase,) = report.read_report(run_dir).phases
  assert phase.updates == 3
  assert phase.seconds is None and phase.parameters_sha256 == ''


def _make_demo(root, phases=('tags', 'dc')):
  for phase in phases:
    _make_run(
      root / phase,
      phase,
      {
        'phase': phase,
        'updates': 4,
        'seconds': 9.0,
        'evaluation': RECALLS | {'images': 24, 'captions': 120},
        'parameters_sha256': phase,
      },
      [_line(4, 1.0)],
    )
  return root


def test_a_demo_with_shipped_pretraining(tmp_path):
  root = _make_demo(tmp_path / 'demo')
  entry = {
    **RECALLS,
    'foil_accuracy': {'test': {'all': {'accuracy': 60.0}}},
    'seconds': 0.5,
    'synthetic_negatives': SHARES,
    'retrieved_negatives': None,
  }
  files.write_json(
    root / 'results.json',
    {
      'phases': [{'name': name} | entry for name in ('pretrain', 'tags', 'dc')],
      'parameters_sha256': 'dc',
    },
  )
  found = report.read_report(root)
  assert [phase.name for phase in found.phases] == ['pretrain', 'tags', 'dc']
  first, last = found.phases[0], found.phases[-1]
  assert not first.train and not first.settings
  assert first.test['images'] == 24 and first.test['text_retrieval']['r1'] == 4
  assert last.measures['synthetic_negatives'] == SHARES
  assert last.seconds == 0.5 and last.train
  assert [phase.parameters_sha256 for phase in found.phases] == [
    '',
    'tags',
    'dc',
  ]
  assert found.notes == [
    'Pretraining has no curves here: its weights come with the package.'
  ]
  page = rendering.render(found)
  assert 'Chance, 24 images, 120 captions' in page
  assert page.count('<figcaption>Total loss') == 2


def test_curves_of_shipped_weights_are_those_they_were_made_with(
  tmp_path, monkeypatch
):
  weights = tmp_path / 'weights'
  weights.mkdir()
  (weights / 'metrics.jsonl').write_text(json.dumps(_line(7, 0.5)), 'utf-8')
  monkeypatch.setattr(shipped, 'find', lambda name: weights)
  config = dataclasses.replace(
    tiny.make_settings('tags', 'nowhere'), init_from='shipped:some'
  )
  root = tmp_path / 'demo'
  folder.claim(root / 'tags', config)
  files.write_json(
    root / 'results.json', {'phases': [{'name': 'pretrain', **RECALLS}]}
  )
  first, second = report.read_report(root).phases
  assert first.updates == 7 and first.train == [_line(7, 0.5)]
  assert not second.train


def test_an_interrupted_demo_shows_what_there_is(tmp_path):
  root = _make_demo(tmp_path / 'demo', ['pretrain'])
  _make_run(root / 'tags', 'tags', None, [_line(3, 1.0)])
  found = report.read_report(root)
  assert [phase.name for phase in found.phases] == ['pretrain', 'tags']
  assert found.phases[0].test['images'] == 24
  assert found.notes == [
    'Stage 1 (TAGS) is not finished: 3 of 4 updates are '
    'done, and there are no test results yet.',
    'Stage 2 (DC) has not started.',
  ]


def test_examples_are_of_the_last_phase(tmp_path, monkeypatch):
  seen = []
  monkeypatch.setattr(examples, 'gather', seen.append)
  report.read_report(_make_demo(tmp_path / 'demo'))
  assert seen == [tmp_path / 'demo' / 'dc']


@pytest.mark.parametrize(
  'files, message',
  [
    ({}, 'contains no run'),
    ({'letter.txt': 'dear'}, 'contains no run'),
    # Another tool's results.
    ({'results.json': '{"accuracy": 1}'}, 'contains no run'),
    ({'results.json': '[1]'}, 'must contain a JSON object, got list'),
    ({'results.json': '{'}, 'results.json cannot be read'),
    ({'config.json': '{}'}, 'contains no readable config.json'),
  ],
)
def test_other_folders_are_refused(tmp_path, files, message):
  for name, text in files.items():
    (tmp_path / name).write_text(text, 'utf-8')
  with pytest.raises(errors.UserError, match=message) as caught:
    report.write_report(tmp_path)
  assert '\n' not in str(caught.value)
  assert {path.name for path in tmp_path.iterdir()} == set(files)


def test_the_page_comes_whole_or_not_at_all(tmp_path, monkeypatch):
  run_dir = _make_run(tmp_path / 'run', 'tags')
  before = report.write_report(run_dir).read_bytes()
  assert before == report.write_report(run_dir).read_bytes()

  def fail(found):
    raise ValueError('a bug')

  monkeypatch.setattr(rendering, 'render', fail)
  with pytest.raises(ValueError, match='a bug'):
    report.write_report(run_dir)
  assert (run_dir / 'report.html').read_bytes() == before
  assert not list(run_dir.glob('*.partial'))


def test_a_page_that_cannot_be_written(tmp_path):
  run_dir = _make_run(tmp_path / 'run', 'tags')
  (run_dir / 'report.html').mkdir()
  with pytest.raises(errors.UserError, match='report.html cannot be written'):
    report.write_report(run_dir)
