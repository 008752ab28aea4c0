"""Boxes of other conventions are told by name; sound ones pass."""

import numpy as np
import pytest

from tagsdc_jax.data import boxes

# x1 y1 x2 y2 w h of three regions.
_SOUND = np.array(
  [
    [0.1, 0.2, 0.6, 0.5, 0.5, 0.3],
    [0.3, 0.1, 0.9, 0.9, 0.6, 0.8],
    [0.05, 0.55, 0.25, 0.95, 0.2, 0.4],
  ]
)


def _rounded(values):
  return np.stack(values, axis=1).astype(np.float16).astype(np.float32)


def _fault(*values):
  return boxes.fault_of(_rounded(values))


@pytest.mark.parametrize('dtype', [np.float16, np.float32])
@pytest.mark.parametrize('scale', [1.0, 0.01, 1 / 3])
def test_sound_boxes_pass(dtype, scale):
  rng = np.random.default_rng(0)
  corners = scale * np.sort(rng.uniform(size=(1000, 2, 2)), axis=1)
  six = np.concatenate(
    [corners[:, 0], corners[:, 1], corners[:, 1] - corners[:, 0]], axis=1
  )
  assert boxes.fault_of(six.astype(dtype).astype(np.float32)) is None


@pytest.mark.parametrize(
  'box',
  [
    [0, 0, 1, 1, 1, 1],
    [0.5, 0.5, 0.5, 0.9, 0, 0.4],  # Thin, so rounded or clipped.
    [1, 0.5, 1, 0.5, 0, 0],
    [-0.02, 0, 1.03, 1.01, 1.05, 1.01],  # Not clipped.
    [
      0.25,
      0.25,
      0.5,
      0.5,
      0.25 + 1 / 300,
      0.25 + 1 / 300,
    ],  # With the last pixel.
  ],
)
def test_what_detectors_give_passes(box):
  sound = _rounded(_SOUND.T)
  assert (
    boxes.fault_of(np.concatenate([sound, np.array([box], np.float32)])) is None
  )
  assert boxes.fault_of(np.array([box], np.float32)) is None


def test_other_conventions_are_named():
  x1, y1, x2, y2, w, h = _SOUND.T
  cx, cy, none = (x1 + x2) / 2, (y1 + y2) / 2, 0 * x1
  found = {
    'x y w h, a corner and the size': [
      (x1, y1, w, h, w, h),
      (x1, y1, w, h, w - x1, h - y1),
    ],
    'cx cy w h, the center and the size': [
      (cx, cy, w, h, w, h),
      (cx, cy, w, h, w - cx, h - cy),
    ],
    'x2 y2 x1 y1, corners swapped': [
      (x2, y2, x1, y1, w, h),
      (x2, y2, x1, y1, -w, -h),
    ],
    'y1 x1 y2 x2 w h, or x1 y1 x2 y2 h w': [
      (y1, x1, y2, x2, w, h),
      (x1, y1, x2, y2, h, w),
    ],
    'x1 x2 y1 y2': [(x1, x2, y1, y2, w, h)],
    'corners with w and h not filled in': [(x1, y1, x2, y2, none, none)],
  }
  for name, kinds in found.items():
    for values in kinds:
      shown = _fault(*values)
      assert 'with w = x2 - x1 and h = y2 - y1, got' in shown
      assert shown.endswith(f'; they look like {name}: convert them')
  shown = _fault(cx, cy, cx + w, cy + h, w, h)
  assert 'lie within their image, from 0 to 1, got 0.6001 0.5 1.2 1.3' in shown
  assert 'in region 1; they look like cx cy cx+w cy+h' in shown
  shown = _fault(2 * x1 - 1, 2 * y1 - 1, 2 * x2 - 1, 2 * y2 - 1, 2 * w, 2 * h)
  assert shown.endswith('they look like corners from -1 to 1: convert them')


@pytest.mark.parametrize('factor', [640, 100, 1000])
def test_pixels_and_percent(factor):
  assert "divided by the image's width or height, got" in _fault(
    *(factor * _SOUND).T
  )


def test_zeros():
  none = np.zeros((3, 7), np.float32)
  assert boxes.fault_of(none) == (
    'boxes must have a size, got 0 0 0 0 0 0 in region 0; use the whole '
    'image, 0 0 1 1 1 1, for features without boxes'
  )
  none[:2, :6] = _SOUND[:2]
  assert boxes.fault_of(none) == (
    'boxes must have a size, got 0 0 0 0 0 0 in region 2; remove the rows '
    'that are not regions'
  )


@pytest.mark.parametrize(
  'column, value, message',
  [
    (
      2,
      0.3,
      'got 0.1 0.2 0.3 0.5 0.5 0.3 in region 0; extract the image again',
    ),
    (4, 0.52, 'got 0.1 0.2 0.6 0.5 0.52 0.3 in region 0; extract'),
    (1, 1.3, 'h = y2 - y1, got 0.1 1.3'),
  ],
)
def test_one_wrong_number(column, value, message):
  six = _SOUND.astype(np.float32)
  six[0, column] = value
  assert message in boxes.fault_of(six)


def test_a_box_far_outside():
  six = np.array([[0.1, 0.2, 1.3, 0.5, 1.2, 0.3]], np.float32)
  assert boxes.fault_of(six) == (
    'boxes must lie within their image, from 0 to 1, got 0.1 0.2 1.3 0.5 1.2 '
    '0.3 in region 0; clip them, or divide x by the width and y by the '
    'height'
  )
