import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.released import selection

# Rows 0, 2 and 3 are alike; row 1 is the caption.
_ROWS = np.array([[[5, 1], [7, 7], [5, 1], [5, 1], [6, 2]]], np.int32)
_IS_CAPTION = np.array([[False, True, False, False, False]])


def _choose(scores, num_hard, **quirks):
  quirks = settings.Quirks(plain_step=True, **quirks)
  is_repeated = selection.is_repeated(_ROWS, last_copy=quirks.last_copy)
  chosen = jax.jit(selection.choose, static_argnums=(3, 4))(
    np.array([scores], np.float32), _IS_CAPTION, is_repeated, num_hard, quirks
  )
  return [x[0].tolist() for x in chosen]


def test_which_copy_counts():
  np.testing.assert_array_equal(
    selection.is_repeated(_ROWS, last_copy=False),
    [[False, False, True, True, False]],
  )
  np.testing.assert_array_equal(
    selection.is_repeated(_ROWS, last_copy=True),
    [[True, False, True, False, False]],
  )


def test_penalties_add_up():
  np.testing.assert_array_equal(
    selection.penalties(
      np.array([False, True, False, True]), np.array([False, False, True, True])
    ),
    [0, 3, 2, 5],
  )


def test_left_out_rows_come_last_and_do_not_count():
  # The caption scores best; two of five rows are clean.
  indices, filled = _choose([0.1, 9, 0.2, 0.3, 0.4], 4)
  assert indices[:2] == [4, 0] and filled == [True, True, False, False]
  # Among those left out the order is that of the scores.
  assert indices[2:] == [1, 3]


def test_filling_up():
  indices, filled = _choose([0.1, 9, 0.2, 0.3, 0.4], 4, fill_up=True)
  assert indices == [4, 0, 1, 3] and all(filled)


def test_a_penalised_row_can_beat_a_clean_one():
  # 9 - 3, 0.3, 0.4; 0.2 - 2 and 0.1 - 2 of the earlier copies.
  indices, filled = _choose(
    [0.1, 9, 0.2, 0.3, 0.4], 3, penalties=True, last_copy=True, fill_up=True
  )
  assert indices == [1, 4, 3] and all(filled)
  indices, filled = _choose(
    [0.1, 9, 0.2, 0.3, 0.4], 3, penalties=True, last_copy=True
  )
  assert indices == [1, 4, 3] and filled == [False, True, True]
