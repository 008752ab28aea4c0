"""Regions of regular cells, and the weights that average patches over boxes.

Patches form a grid over the whole photo, whatever its shape: the photo is
resized to the square input, and boxes are resized with it.
"""

import numpy as np
from jaxtyping import Float

GRID = 6


def cell_boxes(
  width: int, height: int, side: int = GRID
) -> Float[np.ndarray, 'regions 4']:
  """Returns the boxes of the whole photo, then of its cells row by row.

  Args:
    width, height: of the photo in pixels.
    side: rows, and columns, of cells.
  Returns:
    float32 [1 + side^2, 4]: x1, y1, x2, y2 in pixels; cells meet without gap
    or overlap.
  """
  edges = np.arange(side + 1) / side
  top, left = (x.reshape(-1) for x in np.indices((side, side)))
  corners = (edges[left], edges[top], edges[left + 1], edges[top + 1])
  fractions = np.concatenate([[[0, 0, 1, 1]], np.stack(corners, axis=1)])
  return (fractions * [width, height, width, height]).astype(np.float32)


def cell_weights(
  rows: int, side: int = GRID
) -> Float[np.ndarray, 'regions patches']:
  """Returns weights that average patches over the regions of `cell_boxes`.

  A patch that several cells share counts in each by the part that lies in it.

  Args:
    rows: rows, and columns, of patches.
    side: rows, and columns, of cells.
  Returns:
    float32 [1 + side^2, rows^2]; each row sums to 1.
  """
  cells = np.arange(side + 1) / side
  patches = np.arange(rows + 1) / rows
  low = np.maximum(cells[:-1, None], patches[None, :-1])
  high = np.minimum(cells[1:, None], patches[None, 1:])
  # Of each cell's extent along an axis, the part in each patch.
  parts = np.maximum(high - low, 0) * side
  weights = np.einsum('ar,bc->abrc', parts, parts)
  whole = np.full((1, rows * rows), 1 / rows**2)
  weights = np.concatenate([whole, weights.reshape(side**2, rows**2)])
  return weights.astype(np.float32)


def box_weights(
  boxes: Float[np.ndarray, 'regions 4'], width: int, height: int, rows: int
) -> Float[np.ndarray, 'regions patches']:
  """Returns weights that average patches whose center is in each box.

  Args:
    boxes: x1, y1, x2, y2 in pixels, within the photo.
    width, height: of the photo in pixels.
    rows: rows, and columns, of patches.
  Returns:
    float32 [regions, rows^2]; each row sums to 1. A box without the center of
    any patch has the patch under its own center.
  """
  scaled = np.asarray(boxes, np.float64) * (
    rows / np.array([width, height, width, height])
  )
  centers = np.arange(rows) + 0.5

  def inside(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    found = (low[:, None] <= centers) & (centers <= high[:, None])
    nearest = np.clip(np.floor((low + high) / 2), 0, rows - 1)
    under = np.arange(rows) == nearest[:, None]
    return np.where(found.any(axis=1, keepdims=True), found, under)

  columns = inside(scaled[:, 0], scaled[:, 2])
  lines = inside(scaled[:, 1], scaled[:, 3])
  weights = (lines[:, :, None] & columns[:, None, :]).astype(np.float32)
  weights = weights.reshape(len(boxes), rows * rows)
  return weights / weights.sum(axis=1, keepdims=True)
