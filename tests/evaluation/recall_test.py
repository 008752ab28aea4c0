import numpy as np
import pytest

from tagsdc_jax.evaluation import recall
from tests.golden import reading

# 8 captions, two of each of 4 images.
_OWNER = np.array([0, 0, 1, 1, 2, 2, 3, 3])
_CAPTIONS = ((0, 1), (2, 3), (4, 5), (6, 7))
_SCORES = np.array([
    # Own image first: rank 0 unless said.
    [9, 1, 2, 3],
    [4, 5, 1, 0],  # Image 1 is better: rank 1.
    [3, 8, 1, 1],
    [8, 2, 7, 6],  # All are better: rank 3.
    [0, 1, 6, 2],
    [1, 3, 2, 9],  # Images 1 and 3: rank 2.
    [2, 9, 3, 4],  # Image 1: rank 1.
    [7, 6, 5, 8],
], np.float32)


def test_ranks_by_hand():
  np.testing.assert_array_equal(recall.image_ranks(_SCORES, _OWNER),
                                [0, 1, 0, 3, 0, 2, 1, 0])
  # Columns: image 0 has 9 at the top; image 1's best is 8, caption 6 has 9;
  # image 2's best is 6, caption 3 has 7; image 3's best is 8, caption 5 has 9.
  np.testing.assert_array_equal(recall.text_ranks(_SCORES, _CAPTIONS),
                                [0, 1, 1, 1])


def test_result_by_hand():
  result = recall.evaluate_scores(_SCORES, _OWNER, _CAPTIONS)
  # 4 of 8 captions and 1 of 4 images at rank 0; all ranks are below 5.
  assert result == {
      'image_retrieval': {'r1': 50.0, 'r5': 100.0, 'r10': 100.0},
      'text_retrieval': {'r1': 25.0, 'r5': 100.0, 'r10': 100.0}}
  assert recall.mean_r1(result) == 37.5


def test_cutoffs():
  ranks = np.array([0, 1, 4, 5, 9, 10, 99, 4])
  assert recall.recalls(ranks) == {'r1': 12.5, 'r5': 50.0, 'r10': 75.0}


def test_ties_are_pessimistic():
  scores = np.array([[2, 2, 1], [0, 3, 3], [1, 1, 1]], np.float32)
  np.testing.assert_array_equal(
      recall.image_ranks(scores, np.array([0, 1, 2])), [1, 1, 2])
  # Captions 0 and 1 are image 0's; they do not stand in each other's way.
  scores = np.array([[5, 1], [5, 2], [5, 2]], np.float32)
  np.testing.assert_array_equal(
      recall.text_ranks(scores, ((0, 1), (2,))), [1, 1])


def test_any_number_of_captions():
  # Image 1 has no caption: no rank of its own, but it is a candidate.
  scores = np.array([[3, 9, 1], [2, 0, 1], [5, 6, 7], [1, 1, 4]], np.float32)
  owner, captions = np.array([0, 0, 0, 2]), ((0, 1, 2), (), (3,))
  np.testing.assert_array_equal(recall.image_ranks(scores, owner),
                                [1, 0, 2, 0])
  np.testing.assert_array_equal(recall.text_ranks(scores, captions), [0, 1])
  result = recall.evaluate_scores(scores, owner, captions)
  assert result['text_retrieval']['r1'] == 50.0


def test_a_constant_matrix_finds_nothing():
  scores = np.zeros((60, 12), np.float32)
  owner = np.arange(60) // 5
  captions = [tuple(range(5 * i, 5 * i + 5)) for i in range(12)]
  nothing = {'r1': 0.0, 'r5': 0.0, 'r10': 0.0}
  assert recall.evaluate_scores(scores, owner, captions) == {
      'image_retrieval': nothing, 'text_retrieval': nothing}


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_scores_must_be_finite(value):
  scores = _SCORES.copy()
  scores[4, 2] = value
  with pytest.raises(ValueError, match=f'got {value} for caption 4 and '
                     'image 2'):
    recall.evaluate_scores(scores, _OWNER, _CAPTIONS)


def test_shape_must_fit():
  with pytest.raises(ValueError, match=r'\(8, 4\).*got \(4, 8\)'):
    recall.evaluate_scores(_SCORES.T, _OWNER, _CAPTIONS)


def _recorded(name):
  arrays = reading.under(reading.load('metrics.npz'), f'{name}/')
  owner = arrays['gt_image_column']
  captions = [tuple(np.flatnonzero(owner == i))
              for i in range(arrays['scores'].shape[1])]
  result = recall.evaluate_scores(arrays['scores'], owner, captions)
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


def test_overcounting_by_hand():
  # 12 captions. Ranks below 1, 5, 10: 2, 4, 6. Listed (below 10): captions 0,
  # 2, 3, 6, 8, 9; of the first 1, 5, 10 captions: 1, 3, 6.
  ranks = np.array([3, 10, 0, 9, 50, 11, 0, 10, 4, 5, 30, 12])
  found = recall.overcounted_recalls(ranks)
  assert found == pytest.approx({
      'r1': 100 * (2 + 1) / 12, 'r5': 100 * (4 + 3) / 12,
      'r10': 100 * (6 + 6) / 12})


def test_overcounting_of_a_perfect_matrix_exceeds_everything():
  # QUIRKS 40: 12 x 12 gives 1.083 and 1.833.
  result = recall.evaluate_scores(
      np.eye(12, dtype=np.float32), np.arange(12), [(i,) for i in range(12)],
      image_recalls=recall.overcounted_recalls)
  assert result['image_retrieval'] == pytest.approx({
      'r1': 100 * 13 / 12, 'r5': 100 * 17 / 12, 'r10': 100 * 22 / 12})
  assert result['text_retrieval'] == {'r1': 100, 'r5': 100, 'r10': 100}


def test_rounding_to_float16_makes_ties():
  # Near 8 neighbours are 2^-7 apart: 8.001 is no longer above 8, 8.005 is
  # rounded up to 8.0078125.
  scores = np.array([[8.001, 8, 3], [8, 8.005, 1], [0, 1, 2]], np.float32)
  rounded = recall.as_float16(scores)
  assert rounded.dtype == np.float32
  np.testing.assert_array_equal(
      rounded, [[8, 8, 3], [8, 8.0078125, 1], [0, 1, 2]])
  owner = np.arange(3)
  np.testing.assert_array_equal(recall.image_ranks(scores, owner), [0, 0, 0])
  np.testing.assert_array_equal(recall.image_ranks(rounded, owner), [1, 0, 0])
