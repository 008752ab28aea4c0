"""Calibration: matching scores -> the probability that a sentence is true."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, special

# Reliability is counted in bins of equal width.
_BINS = 10
# Pulls weights towards zero where the classes can be separated; scores are
# standardized, so it hardly moves others.
_L2 = 1e-5


@dataclasses.dataclass(frozen=True)
class Calibration:
  """A logistic function of a sentence's score, and of its lead over a caption.

  The lead is the score less that of a caption of the same picture: matchers
  give some pictures higher scores than others.

  Attributes:
    score, lead, offset: weights; `lead` is 0 if pictures have one caption each.
  """

  score: float
  lead: float
  offset: float

  def probability(
    self, scores: np.ndarray, caption_scores: np.ndarray
  ) -> np.ndarray:
    """Returns probabilities, float64, in the shape of the scores.

    Args:
      scores: of sentences.
      caption_scores: of a true caption of each sentence's picture.
    """
    return special.expit(
      self.score * scores + self.lead * (scores - caption_scores) + self.offset
    )


@dataclasses.dataclass(frozen=True)
class Sample:
  """Sentences whose truth is known, or taken for known.

  Attributes:
    scores, caption_scores: see `Calibration`.
    is_true: whether each sentence is true of its picture.
    has_lead: whether `caption_scores` is of another caption.
  """

  scores: Float[np.ndarray, 'sentences']
  caption_scores: Float[np.ndarray, 'sentences']
  is_true: Bool[np.ndarray, 'sentences']
  has_lead: bool


def fit(sample: Sample) -> Calibration:
  """Returns the logistic regression; both classes weigh the same.

  Args:
    sample: with sentences of both classes.
  """
  columns = [sample.scores]
  if sample.has_lead:
    columns.append(sample.scores - sample.caption_scores)
  inputs = np.stack(columns, 1).astype(np.float64)
  mean, scale = inputs.mean(0), np.maximum(inputs.std(0), 1e-6)
  inputs = (inputs - mean) / scale
  sign = np.where(sample.is_true, 1.0, -1.0)
  weight = _equal_weights(sample.is_true)

  def loss(params: np.ndarray) -> tuple[float, np.ndarray]:
    margin = sign * (inputs @ params[1:] + params[0])
    slope = -weight * sign * special.expit(-margin)
    value = weight @ np.logaddexp(0, -margin) + _L2 * params[1:] @ params[1:]
    gradient = np.concatenate(
      [[slope.sum()], inputs.T @ slope + 2 * _L2 * params[1:]]
    )
    return float(value), gradient

  found = optimize.minimize(
    loss, np.zeros(1 + inputs.shape[1]), jac=True, method='L-BFGS-B'
  ).x
  weights = found[1:] / scale
  return Calibration(
    float(weights[0]),
    float(weights[1]) if sample.has_lead else 0.0,
    float(found[0] - weights @ mean),
  )


def reliability(calibration: Calibration, sample: Sample) -> dict[str, Any]:
  """Returns how well probabilities hold on sentences that were not fitted.

  Both classes weigh the same, as in `fit`.

  Returns:
    `bins`, for each bin `low`, `high`, `predicted`, `observed` (means; None in
    an empty bin) and `count`; `ece`, the mean distance of the two, weighted by
    the bins' sizes; `auc`, the probability that a true sentence has a higher
    one than a false.
  """
  probs = calibration.probability(sample.scores, sample.caption_scores)
  weight = _equal_weights(sample.is_true)
  bins, ece = [], 0.0
  place = np.minimum((probs * _BINS).astype(int), _BINS - 1)
  for number in range(_BINS):
    own = place == number
    total = weight[own].sum()
    means: Mapping[str, float | None] = {'predicted': None, 'observed': None}
    if own.any():
      predicted = float(weight[own] @ probs[own] / total)
      observed = float(weight[own] @ sample.is_true[own] / total)
      means = {'predicted': predicted, 'observed': observed}
      ece += float(total) * abs(predicted - observed)
    bins.append(
      {
        'low': number / _BINS,
        'high': (number + 1) / _BINS,
        **means,
        'count': int(own.sum()),
      }
    )
  return {'bins': bins, 'ece': ece, 'auc': _auc(probs, sample.is_true)}


def _equal_weights(is_true: np.ndarray) -> np.ndarray:
  """Returns weights that sum to one half over each class."""
  return np.where(
    is_true, 0.5 / max(np.sum(is_true), 1), 0.5 / max(np.sum(~is_true), 1)
  )


def _auc(values: np.ndarray, is_true: np.ndarray) -> float:
  true, false = np.sort(values[is_true]), np.sort(values[~is_true])
  below = np.searchsorted(false, true, 'left').sum()
  equal = np.searchsorted(false, true, 'right').sum() - below
  return float((below + equal / 2) / (len(true) * len(false)))
