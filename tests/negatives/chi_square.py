"""Goodness of fit for tests of samplers."""

import numpy as np
from scipy import stats


def p_value(counts: np.ndarray, probs: np.ndarray) -> float:
  """Returns the chi-square p-value of counts against probabilities.

  Outcomes that are expected less than five times are counted as one.
  """
  counts, probs = np.ravel(counts), np.ravel(probs)
  np.testing.assert_allclose(probs.sum(), 1, atol=1e-5)
  assert not np.any(counts[probs == 0])
  expected = counts.sum() * probs / probs.sum()
  is_rare = expected < 5
  if is_rare.any():
    counts = np.append(counts[~is_rare], counts[is_rare].sum())
    expected = np.append(expected[~is_rare], expected[is_rare].sum())
  kept = expected > 0
  if kept.sum() < 2:
    return 1.0
  return float(stats.chisquare(counts[kept], expected[kept]).pvalue)
