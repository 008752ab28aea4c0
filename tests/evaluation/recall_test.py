import numpy as np
import pytest

from tagsdc_jax.evaluation import recall

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


def test_overcounting_by_hand():
  # 12 captions. Ranks below 1, 5, 10: 2, 4, 6. Listed (below 10): captions 0,
  # 2, 3, 6, 8, 9; of the first 1, 5, 10 captions: 1, 3, 6.
  ranks = np.array([3, 10, 0, 9, 50, 11, 0, 10, 4, 5, 30, 12])
  found = recall.overcounted_recalls(ranks)
  assert found == pytest.approx({
      'r1': 100 * (2 + 1) / 12, 'r5': 100 * (4 + 3) / 12,
      'r10': 100 * (6 + 6) / 12})


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


def test_means_by_hand():
  assert recall.with_means({'r1': 50, 'r5': 80, 'r10': 95},
                           {'r1': 60, 'r5': 81, 'r10': 99}) == {
      'image_retrieval': {'r1': 50, 'r5': 80, 'r10': 95},
      'text_retrieval': {'r1': 60, 'r5': 81, 'r10': 99},
      'image_mean': 75, 'text_mean': 80, 'mean_r1': 55, 'rsum': 465}


def test_chance_by_hand():
  # 4 captions of 12 images, one each of four: one of 4 comes first.
  found = recall.chance(12, [1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0])
  assert found['text_retrieval'] == {'r1': 25, 'r5': 100, 'r10': 100}
  assert found['image_retrieval'] == pytest.approx({
      'r1': 100 / 12, 'r5': 500 / 12, 'r10': 1000 / 12})
  assert found['mean_r1'] == pytest.approx((25 + 100 / 12) / 2)
  # Uneven: 1 of 11 captions, and 10 of 11.
  found = recall.chance(3, [1, 10, 0])['text_retrieval']
  assert found == pytest.approx({
      'r1': 100 * (1 / 11 + 10 / 11) / 2, 'r5': 100 * (5 / 11 + 1) / 2,
      'r10': 100 * (10 / 11 + 1) / 2})
  # The embedded world, and COCO's 25,010 captions.
  world = recall.chance(200, [5] * 200)
  assert [round(value, 1) for way in recall.WAYS
          for value in world[way].values()] == [0.5, 2.5, 5, 0.5, 2.5, 4.9]
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
        expected[way], abs=3 * 100 * 0.5 / np.sqrt(1500 * 7))


def test_precision_does_not_lose_ties_with_equal_sentences():
  # Candidates 2 and 3 are wrong; 2 is word for word 0, and 3 is as good as 1.
  scores = np.array([7.0, 5.0, 7.0, 5.0, 5.0])
  twins = np.array([[0, 2]])
  assert recall.precision(scores, [0, 1], 2) == pytest.approx({
      'map_at_r': (1 / 2 + 0) / 2, 'r_precision': 1 / 2, 'r1': 0})
  assert recall.precision(scores, [0, 1], 2, twins) == pytest.approx({
      'map_at_r': 1 / 2, 'r_precision': 1 / 2, 'r1': 1})
  # 4 is 1 word for word: 1 loses to 2 and 3 still.
  both = np.array([[0, 2], [1, 4]])
  assert recall.precision(scores, [0, 1], 4, both) == pytest.approx({
      'map_at_r': (1 + 2 / 4) / 4, 'r_precision': 2 / 4, 'r1': 1})
  # Nor does a right one of other words that scores the same.
  assert recall.precision(np.full(3, 1.0), [0, 1], 2, twins) == {
      'map_at_r': 1, 'r_precision': 1, 'r1': 1}


def test_precision_by_hand():
  # Order: 3 (right), 1, 4 (right), 0, 2 (right). R = 3, two of the first 3.
  scores = np.array([1.0, 5.0, 0.5, 9.0, 4.0])
  assert recall.precision(scores, [2, 3, 4], 3) == pytest.approx({
      'map_at_r': (1 / 1 + 2 / 3) / 3, 'r_precision': 2 / 3, 'r1': 1})
  # A fourth right one that is no candidate: R = 4; the places are as before.
  assert recall.precision(scores, [2, 3, 4], 4) == pytest.approx({
      'map_at_r': (1 / 1 + 2 / 3) / 4, 'r_precision': 2 / 4, 'r1': 1})


def test_precision_loses_ties():
  scores = np.array([7.0, 7.0, 7.0, 1.0])
  # Candidates 2 and 3 are wrong; 2 goes before 0 and 1.
  assert recall.precision(scores, [0, 1], 2) == pytest.approx({
      'map_at_r': (1 / 2) / 2, 'r_precision': 1 / 2, 'r1': 0})
  assert recall.precision(scores, [3], 1) == {
      'map_at_r': 0, 'r_precision': 0, 'r1': 0}
  assert recall.precision(scores, np.array([], int), 2)['r1'] == 0
