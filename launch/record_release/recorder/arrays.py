"""Converts tensors to the arrays of a recording, and measures gaps."""

from typing import Any

import numpy as np
import torch


def array(value: Any) -> np.ndarray:
  """Returns a tensor or number as a numpy array."""
  if torch.is_tensor(value):
    return value.detach().cpu().numpy()
  return np.asarray(value)


def boundary_gap(scores: torch.Tensor, count: int) -> np.ndarray:
  """Returns the margin of the last selected score over the first unselected.

  Args:
    scores: float [N].
    count: the number selected, below N.
  """
  ordered = np.sort(array(scores).astype(np.float64))[::-1]
  return np.asarray(ordered[count - 1] - ordered[count])


def hinge_min_abs(sigmoids: torch.Tensor, margin: float) -> np.ndarray:
  """Returns the smallest |margin + negative - positive|.

  Args:
    sigmoids: float [1 + h], the positive first.
    margin: of the triplet loss.
  """
  values = array(sigmoids).astype(np.float64)
  return np.asarray(np.abs(margin + values[1:] - values[0]).min())
