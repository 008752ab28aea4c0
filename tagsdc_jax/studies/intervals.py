"""Means with intervals over seeds and test pictures.

Numbers differ for two reasons: other seeds train other networks, and other test
pictures would have been drawn. The bootstrap draws both again, seeds and
pictures, with replacement. Two arms are drawn alike, so that the interval of
their difference is that of pairs.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

_RESAMPLES = 2000
_SEED = 0
_LEVEL = 95


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What one network did on test items, e.g. captions or foils of a kind.

  Attributes:
    values: float [items], e.g. 1 where it was right.
    pictures: int [items], number of each item's picture.
  """

  values: np.ndarray
  pictures: np.ndarray


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean and its interval."""

  mean: float
  low: float
  high: float


class Sample:
  """A number of one arm: the mean over parts of the mean over their items."""

  def __init__(
    self,
    parts: Sequence[Sequence[Outcome]],
    pictures: int,
    scale: float = 100.0,
  ) -> None:
    """Counts the items of every picture.

    Args:
      parts: for each part, such as a kind of foils, the outcome of every seed.
      pictures: number of pictures of the split.
      scale: of the result; 100 for percent of shares.
    """
    count = lambda one, weights: np.bincount(
      one.pictures, weights, minlength=pictures
    )
    self._scale = scale
    self._sums = np.array(
      [[count(one, one.values) for one in part] for part in parts]
    )
    self._counts = np.array(
      [[count(one, np.ones(len(one.values))) for one in part] for part in parts]
    )

  def estimate(self) -> Estimate:
    """Returns the mean and its interval."""
    return _estimate(self._of_all(), self._drawn())

  def difference(self, other: 'Sample') -> Estimate:
    """Returns how much larger it is than another one of the same items."""
    return _estimate(
      self._of_all() - other._of_all(), self._drawn() - other._drawn()
    )

  def _of_all(self) -> float:
    parts, seeds, pictures = self._sums.shape
    return float(self._means(np.ones((1, seeds)), np.ones((1, pictures)))[0])

  def _drawn(self) -> np.ndarray:
    """Returns the number of each resample."""
    _, seeds, pictures = self._sums.shape
    rng = np.random.default_rng(_SEED)
    draw = lambda count: rng.multinomial(
      count, np.full(count, 1 / count), size=_RESAMPLES
    )
    return self._means(draw(seeds), draw(pictures))

  def _means(self, seeds: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Returns means, [draws], for how often each seed and picture is drawn."""
    over = lambda x: np.einsum('rp,ksp->rks', pictures, x)
    # A draw may have no item of a rare part.
    shares = over(self._sums) / np.maximum(over(self._counts), 1)
    weights = seeds / seeds.sum(axis=1, keepdims=True)
    return self._scale * np.einsum('rks,rs->rk', shares, weights).mean(axis=1)


def _estimate(mean: float, drawn: np.ndarray) -> Estimate:
  tail = (100 - _LEVEL) / 2
  low, high = np.percentile(drawn, [tail, 100 - tail])
  return Estimate(mean, float(low), float(high))
