"""Reads curves from the lines of metrics.jsonl. Numpy only."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tagsdc_jax.reporting.page import content

# More points than pixels would only make the page larger.
_MOST_POINTS = 240
# Names of the losses in earlier versions.
_OLD_NAMES = {
  'loss/matching': 'matching',
  'loss/mlm': 'mlm',
  'loss/triplet_images': 'text_to_image',
  'loss/triplet_texts': 'image_to_text',
  'loss/triplet_mask_refill': 'synthetic',
  'loss/discrimination_mask_refill': 'discrimination',
  'loss/correction_mask_refill': 'correction',
}
# The smoothed line is a running mean over this share of the curve.
_WINDOW = 0.08


@dataclasses.dataclass(frozen=True)
class Curve:
  """One quantity over a phase; updates and values are float [n], no NaN."""

  updates: np.ndarray
  values: np.ndarray

  @property
  def last(self) -> float:
    """The last value of the smoothed line."""
    return float(self.smoothed()[-1])

  def smoothed(self) -> np.ndarray:
    """Returns centered running means, narrower toward both ends.

    Shrinking the window symmetrically does not bend the ends of a falling
    curve.
    """
    count = len(self.values)
    half = max(1, round(_WINDOW * count / 2))
    sums = np.concatenate([[0.0], np.cumsum(self.values)])
    places = np.arange(count)
    # At least 1 at the ends, so that no noisy value stands alone.
    reach = np.clip(np.minimum(places, count - 1 - places), 1, half)
    low = np.maximum(places - reach, 0)
    high = np.minimum(places + reach + 1, count)
    return (sums[high] - sums[low]) / (high - low)


def read(lines: Sequence[content.Line], name: str) -> Curve | None:
  """Returns the curve of one quantity, or None if no line contains it.

  Args:
    lines: by update; those without a finite value of the quantity are skipped.
    name: of the quantity.
  """
  old = _OLD_NAMES.get(name, name)
  found = [(line['update'], line.get(name, line.get(old))) for line in lines]
  points = [
    (update, value)
    for update, value in found
    if isinstance(value, (int, float)) and math.isfinite(value)
  ]
  if not points:
    return None
  # Neighbors are averaged if there are too many points.
  shares = np.array_split(
    np.array(points, float), min(len(points), _MOST_POINTS)
  )
  means = np.array([share.mean(axis=0) for share in shares])
  return Curve(means[:, 0], means[:, 1])
