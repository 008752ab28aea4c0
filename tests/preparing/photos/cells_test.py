"""Tests of cells, and of the patches that lie in boxes."""

import numpy as np
import pytest

from tagsdc_jax.preparing.photos import cells


def test_boxes_of_cells_worked_by_hand():
  boxes = cells.cell_boxes(30, 12, side=3)
  assert boxes.dtype == np.float32
  np.testing.assert_allclose(
    boxes[[0, 1, 2, 5, 9]],
    [[0, 0, 30, 12], [0, 0, 10, 4], [10, 0, 20, 4], [10, 4, 20, 8]]
    + [[20, 8, 30, 12]],
  )


@pytest.mark.parametrize('size', [(640, 427), (1, 1), (7, 3000), (99, 101)])
def test_cells_cover_the_photo_without_gap_or_overlap(size):
  boxes = cells.cell_boxes(*size)
  assert len(boxes) == 37
  assert boxes[0].tolist() == [0, 0, *size]
  grid = boxes[1:].reshape(6, 6, 4)
  np.testing.assert_array_equal(grid[:, :-1, 2], grid[:, 1:, 0])
  np.testing.assert_array_equal(grid[:-1, :, 3], grid[1:, :, 1])
  assert (grid[:, -1, 2] == size[0]).all() and (grid[-1, :, 3] == size[1]).all()
  assert not grid[:, 0, 0].any() and not grid[0, :, 1].any()


def test_weights_of_cells_worked_by_hand():
  # Three patches along a side and two cells: the middle one is shared.
  weights = cells.cell_weights(3, side=2)
  assert weights.shape == (5, 9)
  np.testing.assert_allclose(weights[0], np.full(9, 1 / 9), rtol=1e-6)
  np.testing.assert_allclose(
    weights[2].reshape(3, 3) * 9,  # Top right.
    [[0, 2, 4], [0, 1, 2], [0, 0, 0]],
    atol=1e-6,
  )


@pytest.mark.parametrize('rows', [1, 6, 14, 16, 24, 37])
def test_weights_of_cells_average_the_picture(rows):
  weights = cells.cell_weights(rows)
  assert weights.dtype == np.float32
  np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
  # Every patch counts alike over all cells.
  np.testing.assert_allclose(weights[1:].mean(axis=0), weights[0], rtol=1e-4)
  # A ramp from left to right is found at the centers of the cells.
  ramp = np.tile((np.arange(rows) + 0.5) / rows, rows)
  if rows >= 6:
    found = (weights[1:] @ ramp).reshape(6, 6)
    np.testing.assert_allclose(
      found, np.tile((np.arange(6) + 0.5) / 6, (6, 1)), atol=0.5 / rows
    )


def test_weights_of_boxes_worked_by_hand():
  # Four patches of 10 x 5 pixels along a side; centers at 5, 15, 25, 35 and
  # 2.5, 7.5, 12.5, 17.5.
  boxes = np.array(
    [
      [0, 0, 40, 20],
      [4, 0, 26, 5],  # The centers 5, 15 and 25 of the first row.
      [16, 8, 24, 12],  # No center: the patch under 20, 10.
      [16, 0, 24, 20],  # None across, all down.
      [40, 20, 40, 20],  # On the last corner.
    ],
    np.float32,
  )
  weights = cells.box_weights(boxes, 40, 20, 4).reshape(5, 4, 4)
  np.testing.assert_allclose(weights[0], 1 / 16)
  np.testing.assert_allclose(weights[1][0], [1 / 3, 1 / 3, 1 / 3, 0])
  assert not weights[1][1:].any()
  expected = np.zeros((4, 4))
  expected[2, 2] = 1
  np.testing.assert_array_equal(weights[2], expected)
  np.testing.assert_allclose(weights[3][:, 2], 1 / 4)
  assert weights[3][:, [0, 1, 3]].sum() == 0
  assert weights[4][3, 3] == 1


def test_weights_of_any_boxes_sum_to_one():
  rng = np.random.default_rng(0)
  corners = np.sort(rng.uniform(0, 1, (500, 2, 2)), axis=1).reshape(500, 4)
  boxes = corners * [300, 77, 300, 77]
  weights = cells.box_weights(boxes, 300, 77, 16)
  np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


def test_no_boxes():
  assert cells.box_weights(np.zeros((0, 4)), 5, 5, 3).shape == (0, 9)
