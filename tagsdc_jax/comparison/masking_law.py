"""The exact distribution of masks, and tests of draws against distributions."""

import statistics
from collections.abc import Sequence

import jax
import numpy as np

# Most sets of targets for which the distribution is enumerated.
MOST_SETS = 1 << 16
_RARE = 5.0  # Outcomes expected less often are pooled.


def sets_of_targets(
  phrases: Sequence[Sequence[int]], probs: Sequence[float]
) -> dict[int, float] | None:
  """Returns {set of targets as bits: probability}; None if there are too many.

  Each phrase is chosen independently; if none is, one is chosen uniformly.

  Args:
    phrases: token positions of at least one phrase.
    probs: the probability of each phrase.
  """
  bits = [sum(1 << x for x in set(phrase)) for phrase in phrases]
  law = {0: 1.0}
  for mask, prob in zip(bits, probs, strict=True):
    longer = dict.fromkeys(law, 0.0)
    for targets, share in law.items():
      longer[targets] += share * (1 - prob)
      longer[targets | mask] = longer.get(targets | mask, 0.0) + share * prob
    law = longer
    if len(law) > MOST_SETS:
      return None
  nothing = law.pop(0)
  for mask in bits:
    law[mask] = law.get(mask, 0.0) + nothing / len(bits)
  return law


def shares(law: dict[int, float], length: int) -> dict[str, np.ndarray]:
  """Returns the exact values of the recorded shares.

  Args:
    law: {set of targets as bits: probability}.
    length: number of positions.
  Returns:
    `p_labelled` [length], the probability that a position is a target;
    `p_joint` [length, length], that both positions are; `p_count` [length + 1],
    the distribution of the number of targets.
  """
  sets = np.array(
    [[mask >> x & 1 for x in range(length)] for mask in law], float
  )
  probs = np.array(list(law.values()))
  return {
    'p_labelled': probs @ sets,
    'p_joint': sets.T @ (probs[:, None] * sets),
    'p_count': np.bincount(
      sets.sum(axis=1).astype(int), probs, minlength=length + 1
    ),
  }


def standard_errors(
  probs: np.ndarray, *sizes: float | np.ndarray
) -> np.ndarray:
  """Returns the standard error of the difference of two estimated shares."""
  # Rounding may put a share of 0 or 1 slightly out of range.
  spread = np.maximum(probs * (1 - probs), 0)
  return np.sqrt(spread * sum(1 / np.maximum(size, 1) for size in sizes))


def deviations(false_alarm: float) -> float:
  """Returns the number of standard errors exceeded with this probability."""
  return statistics.NormalDist().inv_cdf(1 - false_alarm / 2)


def fit_p_value(counts: np.ndarray, probs: np.ndarray) -> float:
  """Returns the chi-square p-value of counts against probabilities.

  Args:
    counts: int [n], counts of the outcomes.
    probs: float [n], 0 for impossible outcomes.
  """
  if np.any(counts[probs <= 0]):
    return 0.0
  expected = counts.sum() * probs / probs.sum()
  is_rare = expected < _RARE
  counts, expected = (
    np.append(x[~is_rare], x[is_rare].sum()) for x in (counts, expected)
  )
  kept = expected > 0
  statistic = np.sum((counts - expected)[kept] ** 2 / expected[kept])
  return _survival(statistic, int(kept.sum()) - 1)


def _survival(statistic: float, freedom: int) -> float:
  if freedom < 1:
    return 1.0
  return float(
    jax.scipy.stats.chi2.sf(np.float32(statistic), np.float32(freedom))
  )
