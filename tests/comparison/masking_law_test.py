"""The written-out law and the tests of draws, by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from tagsdc_jax.comparison import masking_law


def test_law_by_hand():
  # Phrases {0, 1} with 0.5 and {1} with 0.2. Both chosen or the first alone:
  # 0.5, targets {0, 1}; the second alone: 0.1; none: 0.4, so 0.2 for each.
  law = masking_law.sets_of_targets([(0, 1), (1,)], [0.5, 0.2])
  assert law == pytest.approx({0b11: 0.7, 0b10: 0.3})
  shares = masking_law.shares(law, 3)
  np.testing.assert_allclose(shares['p_labelled'], [0.7, 1, 0])
  np.testing.assert_allclose(
    shares['p_joint'], [[0.7, 0.7, 0], [0.7, 1, 0], [0, 0, 0]]
  )
  np.testing.assert_allclose(shares['p_count'], [0, 0.3, 0.7, 0])


def test_repeated_positions_and_equal_phrases():
  # A position counts once in a set; equal phrases are two phrases.
  law = masking_law.sets_of_targets([(0, 0), (0, 0), (1,)], [0.5, 0.5, 0.5])
  assert law == pytest.approx(
    {0b01: 0.375 + 0.125 * 2 / 3, 0b10: 0.125 + 0.125 / 3, 0b11: 0.375}
  )


def test_too_many_sets():
  phrases = [(x,) for x in range(20)]
  assert masking_law.sets_of_targets(phrases, [0.1] * 20) is None


@pytest.mark.parametrize(
  'counts, probs', [([18, 33, 49], [0.2, 0.3, 0.5]), ([90, 10], [0.8, 0.2])]
)
def test_fit_is_scipys(counts, probs):
  expected = stats.chisquare(counts, np.sum(counts) * np.array(probs)).pvalue
  assert masking_law.fit_p_value(
    np.array(counts), np.array(probs)
  ) == pytest.approx(expected, rel=1e-4)


def test_fit_counts_rare_outcomes_together():
  # Expected 95, 2, 3: the last two as one, 5 expected, 15 found.
  expected = stats.chisquare([85, 15], [95, 5]).pvalue
  assert masking_law.fit_p_value(
    np.array([85, 0, 15]), np.array([0.95, 0.02, 0.03])
  ) == pytest.approx(expected, rel=1e-3)


def test_what_cannot_be_has_no_chance():
  assert masking_law.fit_p_value(np.array([99, 1]), np.array([1.0, 0])) == 0
  assert masking_law.fit_p_value(np.array([99, 0]), np.array([1.0, 0])) == 1


def test_deviations():
  assert masking_law.deviations(0.05) == pytest.approx(1.95996, rel=1e-5)
  # Of 0.5 in 100 and 400 draws: sqrt(0.25 (0.01 + 0.0025)).
  np.testing.assert_allclose(
    masking_law.standard_errors(np.array([0.5, 1 + 1e-16]), 100, 400),
    [0.0559017, 0],
    atol=1e-7,
  )
