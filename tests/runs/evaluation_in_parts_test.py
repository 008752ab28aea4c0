"""An evaluation in parts: interrupted, continued, damaged, divided."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.data import opening
from tagsdc_jax.evaluation import first_pass, matrix
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import evaluation, evaluation_in_parts, setup
from tagsdc_jax.runtime import parallel
from tests import tiny


@pytest.fixture(scope='module', name='case')
def _case(world_dir):
  config = tiny.make_settings('tags', world_dir, num_devices=1)
  data = opening.open_split(config.data, 'test')
  config = setup.with_data_sizes(dataclasses.replace(
      config, evaluation=dataclasses.replace(config.evaluation,
                                             tile_images=3)), data)
  model = setup.make_model(config)
  params = jax.tree.map(np.asarray, retrieval.init_parameters(
      model, jax.random.key(3)))
  devices = parallel.local_devices(1)
  result, scores = evaluation.evaluate_split(
      model, parallel.replicate(params, devices), data, config, 'tags',
      devices)
  return types.SimpleNamespace(model=model, params=params, data=data,
                               config=config, result=result, scores=scores)


def _evaluate(case, work_dir, **changes):
  return evaluation_in_parts.evaluate(
      case.model, changes.pop('params', case.params), case.data, case.config,
      'tags', work_dir, **changes)


def _same(found, case):
  np.testing.assert_array_equal(found.scores.matrix, case.scores)
  for key in ('image_retrieval', 'text_retrieval', 'rsum'):
    assert found.result[key] == case.result[key]


def _stop_after(monkeypatch, number):
  """Has the evaluation fail after some parts."""
  original, saved = matrix.score_parts, []

  def stopping(*args, **kwargs):
    for item in original(*args, **kwargs):
      if len(saved) == number:
        raise KeyboardInterrupt
      saved.append(item[0])
      yield item

  monkeypatch.setattr(matrix, 'score_parts', stopping)
  return saved


def test_in_one_go(case, tmp_path, capsys):
  found = _evaluate(case, tmp_path)
  _same(found, case)
  assert found.result['pairs_found'] == 0
  assert 0 < found.result['padding'] < 0.5
  assert 'continues' not in capsys.readouterr().err


def test_continued(case, tmp_path, monkeypatch, capsys):
  with monkeypatch.context() as patched:
    saved = _stop_after(patched, 2)
    with pytest.raises(KeyboardInterrupt):
      _evaluate(case, tmp_path)
  assert len(saved) == 2
  scored = _stop_after(monkeypatch, 100)
  found = _evaluate(case, tmp_path)
  _same(found, case)
  assert not set(scored) & set(saved)
  line = capsys.readouterr().err
  assert f'2 of {len(scored) + 2} parts are there' in line
  assert 0 < found.result['pairs_found'] < case.scores.size


def test_damaged_parts_are_scored_again(case, tmp_path, monkeypatch, capsys):
  parts = _evaluate(case, tmp_path).parts
  for part, content in ((0, b''), (2, b'x' * 400)):
    (parts.path / f'{part:06}.part').write_bytes(content)
  scored = _stop_after(monkeypatch, 100)
  _same(_evaluate(case, tmp_path), case)
  assert sorted(scored) == [0, 2]
  assert '2 damaged parts' in capsys.readouterr().err


def test_another_checkpoint_starts_anew(case, tmp_path, capsys):
  first = _evaluate(case, tmp_path)
  other = jax.tree.map(lambda x: 1.5 * x, case.params)
  found = _evaluate(case, tmp_path, params=other)
  assert found.parts.path != first.parts.path
  assert found.result['pairs_found'] == 0
  assert np.max(np.abs(found.scores.matrix - case.scores)) > 1e-3
  assert 'continues' not in capsys.readouterr().err


def test_processes_share_the_work(case, tmp_path, monkeypatch):
  scored = _stop_after(monkeypatch, 100)
  totals, shares = [], []

  def second(number):
    if not totals:
      before = len(scored)
      assert _evaluate(case, tmp_path, process=1, num_processes=2,
                       total=lambda own: totals.append(own) or own) is None
      shares.append(len(scored) - before)
    return number + totals.pop(0)

  # The first process waits until the second has done its share.
  found = _evaluate(case, tmp_path, process=0, num_processes=2, total=second)
  _same(found, case)
  assert len(scored) == len(set(scored))
  assert abs(2 * shares[0] - len(scored)) <= 1
  assert found.result['pairs_found'] == 0
  assert (found.result['pairs_per_second'] * found.result['seconds']
          == pytest.approx(case.scores.size))


def test_a_share_that_is_missing_is_told(case, tmp_path):
  with pytest.raises(errors.UserError, match=r'part \d+ is missing'):
    _evaluate(case, tmp_path, process=0, num_processes=2)


def test_first_pass(case, tmp_path):
  np.save(tmp_path / 'first.npy', case.scores)
  first = first_pass.load(tmp_path / 'first.npy', 12, case.data)
  found = _evaluate(case, tmp_path, first=first)
  about = found.result['first_pass']
  number = np.isfinite(found.scores.matrix).sum()
  assert number == about['pairs'] < 0.6 * case.scores.size
  kept = np.isfinite(found.scores.matrix)
  np.testing.assert_allclose(found.scores.matrix[kept], case.scores[kept],
                             atol=1e-5)
  # The network's own scores as the first pass: nothing among the first 10 is
  # lost. (What rounding moves is less than what lies between these scores.)
  assert found.result['image_retrieval'] == case.result['image_retrieval']
  assert found.result['text_retrieval'] == case.result['text_retrieval']
  own = [c.image for c in case.data.captions]
  assert about['lost']['image_retrieval'] == pytest.approx(
      100 * np.mean(~kept[np.arange(len(own)), own]))


def test_first_pass_is_another_evaluation(case, tmp_path):
  rng = np.random.default_rng(0)
  paths = set()
  for number in (0, 1, 2):
    np.save(tmp_path / 'first.npy', rng.random(case.scores.shape))
    first = first_pass.load(tmp_path / 'first.npy', 2 + number // 2,
                            case.data)
    paths.add(_evaluate(case, tmp_path, first=first).parts.path)
  assert len(paths) == 3
