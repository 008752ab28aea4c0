import types

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.evaluation import ranking, recall
from tests.golden import reading

# 8 captions, two of each of 4 images; see recall_test.
_OWNER = np.array([0, 0, 1, 1, 2, 2, 3, 3])
_CAPTIONS = ((0, 1), (2, 3), (4, 5), (6, 7))
_SCORES = np.array([
    [9, 1, 2, 3], [4, 5, 1, 0], [3, 8, 1, 1], [8, 2, 7, 6],
    [0, 1, 6, 2], [1, 3, 2, 9], [2, 9, 3, 4], [7, 6, 5, 8]], np.float32)


def _evaluate(scores, *args, **kwargs):
  return ranking.evaluate_scores(ranking.Scores(scores), *args, **kwargs)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
  # Two rows or three columns of most matrices below.
  monkeypatch.setattr(ranking, '_BLOCK', 24)


def test_result_by_hand():
  result = _evaluate(_SCORES, _OWNER, _CAPTIONS)
  # 4 of 8 captions and 1 of 4 images at rank 0; all ranks are below 5.
  assert result == {
      'image_retrieval': {'r1': 50.0, 'r5': 100.0, 'r10': 100.0},
      'text_retrieval': {'r1': 25.0, 'r5': 100.0, 'r10': 100.0},
      'image_mean': 250 / 3, 'text_mean': 75.0, 'mean_r1': 37.5,
      'rsum': 475.0}


def test_any_number_of_captions():
  # Image 1 has no caption: no rank of its own, but it is a candidate.
  scores = np.array([[3, 9, 1], [2, 0, 1], [5, 6, 7], [1, 1, 4]], np.float32)
  owner, captions = np.array([0, 0, 0, 2]), ((0, 1, 2), (), (3,))
  np.testing.assert_array_equal(recall.image_ranks(scores, owner),
                                [1, 0, 2, 0])
  np.testing.assert_array_equal(recall.text_ranks(scores, captions), [0, 1])
  result = _evaluate(scores, owner, captions)
  assert result['text_retrieval']['r1'] == 50.0


def test_a_constant_matrix_finds_nothing():
  scores = np.zeros((60, 12), np.float32)
  owner = np.arange(60) // 5
  captions = [tuple(range(5 * i, 5 * i + 5)) for i in range(12)]
  nothing = {'r1': 0.0, 'r5': 0.0, 'r10': 0.0}
  result = _evaluate(scores, owner, captions)
  assert result['image_retrieval'] == result['text_retrieval'] == nothing


# Captions c0 to c7 and images i0 to i3.
_DATA = types.SimpleNamespace(
    name='toy', image_ids=[f'i{n}' for n in range(4)],
    captions=[types.SimpleNamespace(caption_id=f'c{n}') for n in range(8)])


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_scores_must_be_finite(value):
  scores = _SCORES.copy()
  scores[4, 2] = value
  with pytest.raises(errors.UserError, match=f'got {value} for caption c4 and '
                     'image i2 of toy; the'):
    ranking.Scores(scores).check(_DATA)


def test_shape_must_fit():
  with pytest.raises(ValueError, match=r'\(8, 4\).*got \(4, 8\)'):
    _evaluate(_SCORES.T, _OWNER, _CAPTIONS)


def _recorded(name):
  arrays = reading.under(reading.load('metrics.npz'), f'{name}/')
  owner = arrays['gt_image_column']
  captions = [tuple(np.flatnonzero(owner == i))
              for i in range(arrays['scores'].shape[1])]
  result = _evaluate(arrays['scores'], owner, captions)
  return arrays, *(list(result[f'{way}_retrieval'].values())
                   for way in ('text', 'image'))


@pytest.mark.parametrize('name', ['random_f32', 'five_captions'])
def test_result_is_the_recorded_one(name):
  arrays, texts, images = _recorded(name)
  expected = 100 * arrays['result_corrected']
  np.testing.assert_allclose(texts, expected[0:3], rtol=1e-9)
  np.testing.assert_allclose(images, expected[4:7], rtol=1e-9)


@pytest.mark.parametrize('name', ['tied_f16', 'saturated_f16'])
def test_result_is_the_recorded_bound_where_scores_tie(name):
  _, texts, images = _recorded(name)
  bounds = reading.manifest()['files']['metrics.npz']['results'][
      f'{name}/ties']
  for way, found in (('text', texts), ('image', images)):
    np.testing.assert_allclose(
        found, 100 * np.array(bounds[f'{way}_retrieval_pessimistic']),
        rtol=1e-9)


def test_overcounting_of_a_perfect_matrix_exceeds_everything():
  # QUIRKS 40: 12 x 12 gives 1.083 and 1.833.
  result = _evaluate(
      np.eye(12, dtype=np.float32), np.arange(12), [(i,) for i in range(12)],
      image_recalls=recall.overcounted_recalls)
  assert result['image_retrieval'] == pytest.approx({
      'r1': 100 * 13 / 12, 'r5': 100 * 17 / 12, 'r10': 100 * 22 / 12})
  assert result['text_retrieval'] == {'r1': 100, 'r5': 100, 'r10': 100}


def test_blocks_cover_everything():
  assert [b.tolist() for b in ranking.blocks(5, 12)] == [[0, 1], [2, 3], [4]]
  assert [b.tolist() for b in ranking.blocks(2, 100)] == [[0], [1]]


def test_what_the_network_has_not_scored_ranks_behind():
  nothing = -np.inf
  scores = np.array([[0.5, nothing, nothing, -8.0],
                     [nothing, 1.0, nothing, nothing]], np.float32)
  first = np.array([[0.1, 0.9, 0.8, 0.2],
                    [3e-8, 0.0, 2e-8, 2e-8]], np.float32)
  # By hand: row 0 is 0, 3, then 1 before 2; row 1 is 1, 0, then 2 and 3 tied.
  rows = ranking.Scores(scores, first).rows([0, 1])
  np.testing.assert_array_equal(np.argsort(-rows[0]), [0, 3, 1, 2])
  assert rows[1, 1] > rows[1, 0] > rows[1, 2] == rows[1, 3]
  np.testing.assert_array_equal(
      rows[np.isfinite(scores)], scores[np.isfinite(scores)])
  # Columns: 0 and 1 have one score each, 2 has none: caption 0, then 1.
  columns = ranking.Scores(scores, first).columns([2, 1])
  np.testing.assert_array_equal(np.argsort(-columns, axis=0), [[0, 1], [1, 0]])


def test_a_first_pass_does_not_change_a_full_matrix():
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(8, 4)).astype(np.float32)
  whole = ranking.evaluate_scores(ranking.Scores(scores), _OWNER, _CAPTIONS)
  with_first = ranking.evaluate_scores(
      ranking.Scores(scores, rng.random((8, 4))), _OWNER, _CAPTIONS)
  assert whole == with_first


def test_missing_scores_need_a_first_pass():
  scores = _SCORES.copy()
  scores[5, 1] = -np.inf
  first = np.zeros((8, 4))
  ranking.Scores(scores, first).check(_DATA)
  with pytest.raises(errors.UserError, match='inf for caption c5 and image i1'):
    ranking.Scores(scores).check(_DATA)
  scores[5, 1] = np.nan
  with pytest.raises(errors.UserError, match='nan for caption c5 and image i1'):
    ranking.Scores(scores, first).check(_DATA)


def test_subset():
  scores = ranking.Scores(_SCORES, -_SCORES).subset(
      np.array([6, 2]), np.array([1, 3, 0]))
  np.testing.assert_array_equal(scores.matrix, [[9, 4, 2], [8, 1, 3]])
  np.testing.assert_array_equal(scores.first_pass, [[-9, -4, -2], [-8, -1, -3]])
