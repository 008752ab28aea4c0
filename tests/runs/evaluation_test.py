"""An evaluation in memory and on disk: the same numbers, however it went."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.data import opening
from tagsdc_jax.evaluation import first_pass, matrix, tiles
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import evaluation, lock, setup
from tagsdc_jax.runtime import distributed, parallel
from tests import tiny


@pytest.fixture(scope='module', name='case')
def _case(world_dir):
  config = tiny.make_settings('tags', world_dir, num_devices=1)
  data = opening.open_split(config.data, 'test')
  config = setup.with_data_sizes(
    dataclasses.replace(
      config, evaluation=dataclasses.replace(config.evaluation, tile_images=3)
    ),
    data,
  )
  model = setup.make_model(config)
  params = jax.tree.map(
    np.asarray, retrieval.init_parameters(model, jax.random.key(3))
  )
  case = types.SimpleNamespace(
    model=model, params=params, data=data, config=config
  )
  found = _evaluate(case, None)
  assert found.cache is None and found.result['pairs_found'] == 0
  case.result, case.scores = found.result, found.scores.matrix
  return case


def _evaluate(case, work_dir, **changes):
  devices = parallel.local_devices(1)
  params = parallel.replicate(changes.pop('params', case.params), devices)
  return evaluation.evaluate(
    case.model,
    params,
    case.data,
    changes.pop('config', case.config),
    'tags',
    devices,
    work_dir=work_dir,
    **changes,
  )


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
  assert f'2 of {len(scored) + 2} parts are finished' in line
  assert 0 < found.result['pairs_found'] < case.scores.size


def test_damaged_parts_are_scored_again(case, tmp_path, monkeypatch, capsys):
  parts = _evaluate(case, tmp_path).cache
  for part, content in ((0, b''), (2, b'x' * 400)):
    (parts.path / f'{part:06}.part').write_bytes(content)
  scored = _stop_after(monkeypatch, 100)
  _same(_evaluate(case, tmp_path), case)
  assert sorted(scored) == [0, 2]
  assert '2 corrupt parts' in capsys.readouterr().err


def test_another_checkpoint_starts_anew(case, tmp_path, capsys):
  first = _evaluate(case, tmp_path)
  other = jax.tree.map(lambda x: 1.5 * x, case.params)
  found = _evaluate(case, tmp_path, params=other)
  assert found.cache.path != first.cache.path
  assert found.result['pairs_found'] == 0
  assert np.max(np.abs(found.scores.matrix - case.scores)) > 1e-3
  assert 'continues' not in capsys.readouterr().err


def _as_process(monkeypatch, process):
  """Has what follows take itself for one of two processes."""
  monkeypatch.setattr(
    evaluation,
    'jax',
    types.SimpleNamespace(
      process_index=lambda: process, process_count=lambda: 2
    ),
  )
  monkeypatch.setattr(distributed, 'is_first', lambda: process == 0)
  monkeypatch.setattr(
    matrix, 'own_parts', lambda plan: tiles.spread(len(plan.images))[process::2]
  )


def test_processes_share_the_work(case, tmp_path, monkeypatch):
  scored = _stop_after(monkeypatch, 100)
  shares = []

  def total_of_second(number):
    shares.append(number)
    return number

  def total_of_first(number):
    # The first process waits until the second has done its share.
    with monkeypatch.context() as second:
      _as_process(second, 1)
      second.setattr(distributed, 'total', total_of_second)
      before = len(scored)
      found = _evaluate(case, tmp_path)
      assert found.result == {} and not found.scores.matrix.size
      assert abs(2 * (len(scored) - before) - len(scored)) <= 1
    return number + shares[0]

  _as_process(monkeypatch, 0)
  monkeypatch.setattr(distributed, 'total', total_of_first)
  found = _evaluate(case, tmp_path)
  _same(found, case)
  assert len(scored) == len(set(scored))
  assert found.result['pairs_found'] == 0
  assert found.result['pairs_per_second'] * found.result[
    'seconds'
  ] == pytest.approx(case.scores.size)


def test_a_share_that_is_missing_is_told(case, tmp_path, monkeypatch):
  _as_process(monkeypatch, 0)
  monkeypatch.setattr(distributed, 'total', lambda number: number)
  with pytest.raises(errors.UserError, match=r'part \d+ is missing'):
    _evaluate(case, tmp_path)


def test_one_evaluation_at_a_time(case, tmp_path, monkeypatch):
  monkeypatch.setattr(lock, '_SETTLING', 0.1)
  path = _evaluate(case, tmp_path).cache.path
  with lock.Lock(path / 'process_0.lock', '').held():
    with pytest.raises(
      errors.UserError,
      match='in use by process .* wait for '
      'that evaluation, or pass another --work-dir',
    ):
      _evaluate(case, tmp_path)
  _evaluate(case, tmp_path)


def test_scores_are_returned_as_they_were_computed(case):
  config = dataclasses.replace(
    case.config, quirks=settings.Quirks(float16_scores=True)
  )
  found = _evaluate(case, None, config=config)
  np.testing.assert_array_equal(found.scores.matrix, case.scores)


def test_first_pass(case, tmp_path):
  np.save(tmp_path / 'first.npy', case.scores)
  first = first_pass.load(tmp_path / 'first.npy', 12, case.data)
  found = _evaluate(case, tmp_path, first=first)
  about = found.result['first_pass']
  number = np.isfinite(found.scores.matrix).sum()
  assert number == about['pairs'] < 0.6 * case.scores.size
  kept = np.isfinite(found.scores.matrix)
  np.testing.assert_allclose(
    found.scores.matrix[kept], case.scores[kept], atol=1e-5
  )
  # The network's own scores as the first pass: nothing among the first 10 is
  # lost. (What rounding moves is less than what lies between these scores.)
  assert found.result['image_retrieval'] == case.result['image_retrieval']
  assert found.result['text_retrieval'] == case.result['text_retrieval']
  own = [c.image for c in case.data.captions]
  assert about['lost']['image_retrieval'] == pytest.approx(
    100 * np.mean(~kept[np.arange(len(own)), own])
  )


def test_first_pass_is_another_evaluation(case, tmp_path):
  rng = np.random.default_rng(0)
  paths = set()
  for number in (0, 1, 2):
    np.save(tmp_path / 'first.npy', rng.random(case.scores.shape))
    first = first_pass.load(tmp_path / 'first.npy', 2 + number // 2, case.data)
    paths.add(_evaluate(case, tmp_path, first=first).cache.path)
  assert len(paths) == 3
