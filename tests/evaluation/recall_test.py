"""Ranks and recalls, of arrays and of scores that are read in blocks."""

import types

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.evaluation import recall
from tests.golden import reading

# 8 captions, two of each of 4 images.
_OWNER = np.array([0, 0, 1, 1, 2, 2, 3, 3])
_CAPTIONS = ((0, 1), (2, 3), (4, 5), (6, 7))
_SCORES = np.array(
  [
    # Own image first: rank 0 unless said.
    [9, 1, 2, 3],
    [4, 5, 1, 0],  # Image 1 is better: rank 1.
    [3, 8, 1, 1],
    [8, 2, 7, 6],  # All are better: rank 3.
    [0, 1, 6, 2],
    [1, 3, 2, 9],  # Images 1 and 3: rank 2.
    [2, 9, 3, 4],  # Image 1: rank 1.
    [7, 6, 5, 8],
  ],
  np.float32,
)


def test_ranks_by_hand():
  np.testing.assert_array_equal(
    recall.image_ranks(_SCORES, _OWNER), [0, 1, 0, 3, 0, 2, 1, 0]
  )
  # Columns: image 0 has 9 at the top; image 1's best is 8, caption 6 has 9;
  # image 2's best is 6, caption 3 has 7; image 3's best is 8, caption 5 has 9.
  np.testing.assert_array_equal(
    recall.text_ranks(_SCORES, _CAPTIONS), [0, 1, 1, 1]
  )


def test_cutoffs():
  ranks = np.array([0, 1, 4, 5, 9, 10, 99, 4])
  assert recall.recalls(ranks) == {'r1': 12.5, 'r5': 50.0, 'r10': 75.0}


def test_ties_are_pessimistic():
  scores = np.array([[2, 2, 1], [0, 3, 3], [1, 1, 1]], np.float32)
  np.testing.assert_array_equal(
    recall.image_ranks(scores, np.array([0, 1, 2])), [1, 1, 2]
  )
  # Captions 0 and 1 are image 0's; they do not stand in each other's way.
  scores = np.array([[5, 1], [5, 2], [5, 2]], np.float32)
  np.testing.assert_array_equal(
    recall.text_ranks(scores, ((0, 1), (2,))), [1, 1]
  )


def test_overcounting_by_hand():
  # 12 captions. Ranks below 1, 5, 10: 2, 4, 6. Listed (below 10): captions 0,
  # 2, 3, 6, 8, 9; of the first 1, 5, 10 captions: 1, 3, 6.
  ranks = np.array([3, 10, 0, 9, 50, 11, 0, 10, 4, 5, 30, 12])
  found = recall.overcounted_recalls(ranks)
  assert found == pytest.approx(
    {
      'r1': 100 * (2 + 1) / 12,
      'r5': 100 * (4 + 3) / 12,
      'r10': 100 * (6 + 6) / 12,
    }
  )


def test_rounding_to_float16_makes_ties():
  # Near 8 neighbours are 2^-7 apart: 8.001 is no longer above 8, 8.005 is
  # rounded up to 8.0078125.
  scores = np.array([[8.001, 8, 3], [8, 8.005, 1], [0, 1, 2]], np.float32)
  rounded = recall.as_float16(scores)
  assert rounded.dtype == np.float32
  np.testing.assert_array_equal(
    rounded, [[8, 8, 3], [8, 8.0078125, 1], [0, 1, 2]]
  )
  owner = np.arange(3)
  np.testing.assert_array_equal(recall.image_ranks(scores, owner), [0, 0, 0])
  np.testing.assert_array_equal(recall.image_ranks(rounded, owner), [1, 0, 0])


def test_means_by_hand():
  assert recall.with_means(
    {'r1': 50, 'r5': 80, 'r10': 95}, {'r1': 60, 'r5': 81, 'r10': 99}
  ) == {
    'image_retrieval': {'r1': 50, 'r5': 80, 'r10': 95},
    'text_retrieval': {'r1': 60, 'r5': 81, 'r10': 99},
    'image_mean': 75,
    'text_mean': 80,
    'mean_r1': 55,
    'rsum': 465,
  }


def test_chance_by_hand():
  # 4 captions of 12 images, one each of four: one of 4 comes first.
  found = recall.chance(12, [1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0])
  assert found['text_retrieval'] == {'r1': 25, 'r5': 100, 'r10': 100}
  assert found['image_retrieval'] == pytest.approx(
    {'r1': 100 / 12, 'r5': 500 / 12, 'r10': 1000 / 12}
  )
  assert found['mean_r1'] == pytest.approx((25 + 100 / 12) / 2)
  # Uneven: 1 of 11 captions, and 10 of 11.
  found = recall.chance(3, [1, 10, 0])['text_retrieval']
  assert found == pytest.approx(
    {
      'r1': 100 * (1 / 11 + 10 / 11) / 2,
      'r5': 100 * (5 / 11 + 1) / 2,
      'r10': 100 * (10 / 11 + 1) / 2,
    }
  )
  # The embedded world, and COCO's 25,010 captions.
  world = recall.chance(200, [5] * 200)
  assert [
    round(value, 1) for way in recall.WAYS for value in world[way].values()
  ] == [0.5, 2.5, 5, 0.5, 2.5, 4.9]
  coco = recall.chance(5000, [5] * 4990 + [6] * 10)
  assert coco['text_retrieval']['r1'] == pytest.approx(0.02)
  nothing = recall.chance(2, [0, 0])
  assert nothing['text_retrieval'] == {'r1': 0, 'r5': 0, 'r10': 0}


def test_chance_is_what_random_scores_give():
  rng = np.random.default_rng(0)
  counts = [3, 0, 1, 7, 0, 2, 1, 30, 0, 1]
  owner = np.repeat(np.arange(len(counts)), counts)
  own = [np.flatnonzero(owner == i) for i in range(len(counts))]
  ranks = [[], []]
  for _ in range(1500):
    scores = rng.random((len(owner), len(counts)))
    ranks[0].append(recall.image_ranks(scores, owner))
    ranks[1].append(recall.text_ranks(scores, own))
  expected = recall.chance(len(counts), counts)
  for way, found in zip(recall.WAYS, ranks):
    # Three times the standard error of the least certain one.
    assert recall.recalls(np.concatenate(found)) == pytest.approx(
      expected[way], abs=3 * 100 * 0.5 / np.sqrt(1500 * 7)
    )


def test_precision_does_not_lose_ties_with_equal_sentences():
  # Candidates 2 and 3 are wrong; 2 is word for word 0, and 3 is as good as 1.
  scores = np.array([7.0, 5.0, 7.0, 5.0, 5.0])
  twins = np.array([[0, 2]])
  assert recall.precision(scores, [0, 1], 2) == pytest.approx(
    {'map_at_r': (1 / 2 + 0) / 2, 'r_precision': 1 / 2, 'r1': 0}
  )
  assert recall.precision(scores, [0, 1], 2, twins) == pytest.approx(
    {'map_at_r': 1 / 2, 'r_precision': 1 / 2, 'r1': 1}
  )
  # 4 is 1 word for word: 1 loses to 2 and 3 still.
  both = np.array([[0, 2], [1, 4]])
  assert recall.precision(scores, [0, 1], 4, both) == pytest.approx(
    {'map_at_r': (1 + 2 / 4) / 4, 'r_precision': 2 / 4, 'r1': 1}
  )
  # Nor does a right one of other words that scores the same.
  assert recall.precision(np.full(3, 1.0), [0, 1], 2, twins) == {
    'map_at_r': 1,
    'r_precision': 1,
    'r1': 1,
  }


def test_precision_by_hand():
  # Order: 3 (right), 1, 4 (right), 0, 2 (right). R = 3, two of the first 3.
  scores = np.array([1.0, 5.0, 0.5, 9.0, 4.0])
  assert recall.precision(scores, [2, 3, 4], 3) == pytest.approx(
    {'map_at_r': (1 / 1 + 2 / 3) / 3, 'r_precision': 2 / 3, 'r1': 1}
  )
  # A fourth right one that is no candidate: R = 4; the places are as before.
  assert recall.precision(scores, [2, 3, 4], 4) == pytest.approx(
    {'map_at_r': (1 / 1 + 2 / 3) / 4, 'r_precision': 2 / 4, 'r1': 1}
  )


def test_precision_loses_ties():
  scores = np.array([7.0, 7.0, 7.0, 1.0])
  # Candidates 2 and 3 are wrong; 2 goes before 0 and 1.
  assert recall.precision(scores, [0, 1], 2) == pytest.approx(
    {'map_at_r': (1 / 2) / 2, 'r_precision': 1 / 2, 'r1': 0}
  )
  assert recall.precision(scores, [3], 1) == {
    'map_at_r': 0,
    'r_precision': 0,
    'r1': 0,
  }
  assert recall.precision(scores, np.array([], int), 2)['r1'] == 0


def _evaluate(scores, *args, **kwargs):
  return recall.evaluate_scores(recall.Scores(scores), *args, **kwargs)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
  # Two rows or three columns of most matrices below.
  monkeypatch.setattr(recall, '_BLOCK', 24)


def test_result_by_hand():
  result = _evaluate(_SCORES, _OWNER, _CAPTIONS)
  # 4 of 8 captions and 1 of 4 images at rank 0; all ranks are below 5.
  assert result == {
    'image_retrieval': {'r1': 50.0, 'r5': 100.0, 'r10': 100.0},
    'text_retrieval': {'r1': 25.0, 'r5': 100.0, 'r10': 100.0},
    'image_mean': 250 / 3,
    'text_mean': 75.0,
    'mean_r1': 37.5,
    'rsum': 475.0,
  }


def test_any_number_of_captions():
  # Image 1 has no caption: no rank of its own, but it is a candidate.
  scores = np.array([[3, 9, 1], [2, 0, 1], [5, 6, 7], [1, 1, 4]], np.float32)
  owner, captions = np.array([0, 0, 0, 2]), ((0, 1, 2), (), (3,))
  np.testing.assert_array_equal(recall.image_ranks(scores, owner), [1, 0, 2, 0])
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
  name='toy',
  image_ids=[f'i{n}' for n in range(4)],
  captions=[types.SimpleNamespace(caption_id=f'c{n}') for n in range(8)],
)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_scores_must_be_finite(value):
  scores = _SCORES.copy()
  scores[4, 2] = value
  with pytest.raises(
    errors.UserError,
    match=f'got {value} for caption c4 and image i2 of toy; the',
  ):
    recall.Scores(scores).check(_DATA)


def test_shape_must_fit():
  with pytest.raises(ValueError, match=r'\(8, 4\).*got \(4, 8\)'):
    _evaluate(_SCORES.T, _OWNER, _CAPTIONS)


def _recorded(name):
  arrays = reading.under(reading.load('metrics.npz'), f'{name}/')
  owner = arrays['gt_image_column']
  captions = [
    tuple(np.flatnonzero(owner == i)) for i in range(arrays['scores'].shape[1])
  ]
  result = _evaluate(arrays['scores'], owner, captions)
  return arrays, *(
    list(result[f'{way}_retrieval'].values()) for way in ('text', 'image')
  )


@pytest.mark.parametrize('name', ['random_f32', 'five_captions'])
def test_result_is_the_recorded_one(name):
  arrays, texts, images = _recorded(name)
  expected = 100 * arrays['result_corrected']
  np.testing.assert_allclose(texts, expected[0:3], rtol=1e-9)
  np.testing.assert_allclose(images, expected[4:7], rtol=1e-9)


@pytest.mark.parametrize('name', ['tied_f16', 'saturated_f16'])
def test_result_is_the_recorded_bound_where_scores_tie(name):
  _, texts, images = _recorded(name)
  bounds = reading.manifest()['files']['metrics.npz']['results'][f'{name}/ties']
  for way, found in (('text', texts), ('image', images)):
    np.testing.assert_allclose(
      found, 100 * np.array(bounds[f'{way}_retrieval_pessimistic']), rtol=1e-9
    )


def test_overcounting_of_a_perfect_matrix_exceeds_everything():
  # docs/quirks.md, 40: 12 x 12 gives 1.083 and 1.833.
  result = _evaluate(
    np.eye(12, dtype=np.float32),
    np.arange(12),
    [(i,) for i in range(12)],
    image_recalls=recall.overcounted_recalls,
  )
  assert result['image_retrieval'] == pytest.approx(
    {'r1': 100 * 13 / 12, 'r5': 100 * 17 / 12, 'r10': 100 * 22 / 12}
  )
  assert result['text_retrieval'] == {'r1': 100, 'r5': 100, 'r10': 100}


def test_blocks_cover_everything():
  assert [b.tolist() for b in recall.blocks(5, 12)] == [[0, 1], [2, 3], [4]]
  assert [b.tolist() for b in recall.blocks(2, 100)] == [[0], [1]]


def test_what_the_network_has_not_scored_ranks_behind():
  nothing = -np.inf
  scores = np.array(
    [[0.5, nothing, nothing, -8.0], [nothing, 1.0, nothing, nothing]],
    np.float32,
  )
  first = np.array([[0.1, 0.9, 0.8, 0.2], [3e-8, 0.0, 2e-8, 2e-8]], np.float32)
  # By hand: row 0 is 0, 3, then 1 before 2; row 1 is 1, 0, then 2 and 3 tied.
  rows = recall.Scores(scores, first).rows([0, 1])
  np.testing.assert_array_equal(np.argsort(-rows[0]), [0, 3, 1, 2])
  assert rows[1, 1] > rows[1, 0] > rows[1, 2] == rows[1, 3]
  np.testing.assert_array_equal(
    rows[np.isfinite(scores)], scores[np.isfinite(scores)]
  )
  # Columns: 0 and 1 have one score each, 2 has none: caption 0, then 1.
  columns = recall.Scores(scores, first).columns([2, 1])
  np.testing.assert_array_equal(np.argsort(-columns, axis=0), [[0, 1], [1, 0]])


def test_a_first_pass_does_not_change_a_full_matrix():
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(8, 4)).astype(np.float32)
  whole = recall.evaluate_scores(recall.Scores(scores), _OWNER, _CAPTIONS)
  with_first = recall.evaluate_scores(
    recall.Scores(scores, rng.random((8, 4))), _OWNER, _CAPTIONS
  )
  assert whole == with_first


def test_missing_scores_need_a_first_pass():
  scores = _SCORES.copy()
  scores[5, 1] = -np.inf
  first = np.zeros((8, 4))
  recall.Scores(scores, first).check(_DATA)
  with pytest.raises(errors.UserError, match='inf for caption c5 and image i1'):
    recall.Scores(scores).check(_DATA)
  scores[5, 1] = np.nan
  with pytest.raises(errors.UserError, match='nan for caption c5 and image i1'):
    recall.Scores(scores, first).check(_DATA)


def test_subset():
  scores = recall.Scores(_SCORES, -_SCORES).subset(
    np.array([6, 2]), np.array([1, 3, 0])
  )
  np.testing.assert_array_equal(scores.matrix, [[9, 4, 2], [8, 1, 3]])
  np.testing.assert_array_equal(scores.first_pass, [[-9, -4, -2], [-8, -1, -3]])
