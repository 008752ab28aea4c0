"""Intervals over seeds and pictures: hand-worked and simulated."""

import numpy as np
import pytest

from tagsdc_jax.studies import intervals


def _outcome(values, pictures):
  return intervals.Outcome(np.array(values, float), np.array(pictures))


def test_mean_of_parts_and_seeds():
  # Colors: 3 of 4 and 1 of 4; shapes: 1 of 1 and 0 of 1.
  colors = [
    _outcome([1, 1, 1, 0], [0, 0, 1, 1]),
    _outcome([1, 0, 0, 0], [0, 0, 1, 1]),
  ]
  shapes = [_outcome([1], [1]), _outcome([0], [1])]
  sample = intervals.Sample([colors, shapes], 2)
  assert sample.estimate().mean == pytest.approx(100 * (0.5 + 0.5) / 2)
  assert intervals.Sample([colors], 2).estimate().mean == pytest.approx(50)


def test_the_interval_holds_the_truth_as_often_as_it_says():
  rng = np.random.default_rng(0)
  hits, trials = 0, 60
  for _ in range(trials):
    # Networks are right with 70 % on average, and differ by seed.
    seeds = [
      _outcome(
        rng.random(300) < np.clip(rng.normal(0.7, 0.05), 0, 1),
        np.arange(300) // 3,
      )
      for _ in range(8)
    ]
    found = intervals.Sample([seeds], 100).estimate()
    hits += found.low <= 70 <= found.high
  assert 0.8 <= hits / trials <= 1


def test_differences_are_of_pairs():
  rng = np.random.default_rng(0)
  # Pictures are easy or hard for both; the second is right a little more often.
  easy = rng.random(400) < 0.5
  more = easy | (rng.random(400) < 0.05)
  pictures = np.arange(400)
  a = intervals.Sample([[_outcome(easy, pictures)] * 3], 400)
  b = intervals.Sample([[_outcome(more, pictures)] * 3], 400)
  change = b.difference(a)
  assert change.mean == pytest.approx(100 * (more.mean() - easy.mean()))
  assert change.low > 0
  # Alone, the two intervals overlap.
  assert b.estimate().low < a.estimate().high


def test_one_seed_and_one_picture():
  found = intervals.Sample([[_outcome([1, 0], [0, 0])]], 1).estimate()
  assert (found.mean, found.low, found.high) == (50, 50, 50)


def test_seeds_may_have_other_items():
  """Each seed's mean is over its own items; a seed without any counts as 0."""
  outcome = lambda values, pictures: intervals.Outcome(
    np.array(values, float), np.array(pictures, int)
  )
  sample = intervals.Sample(
    [[outcome([1, 1, 0], [0, 0, 1]), outcome([1], [1])]], 2, scale=1.0
  )
  assert sample.estimate().mean == pytest.approx((2 / 3 + 1) / 2)
