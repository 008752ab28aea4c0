import numpy as np
import pytest

from tagsdc_jax.data import regions as regions_lib
from tagsdc_jax.data.dataset import Regions
from tagsdc_jax.errors import UserError


def _regions(num_regions=3, feature_size=4, dtype=np.float16):
  features = np.arange(num_regions * feature_size, dtype=dtype)
  boxes = np.tile(np.float32([0.25, 0.5, 0.75, 1, 0.5, 0.5]), (num_regions, 1))
  return Regions(
    features.reshape(num_regions, feature_size), regions_lib.make_boxes7(boxes)
  )


def test_make_boxes7_by_hand():
  boxes = regions_lib.make_boxes7(np.array([[0.25, 0.5, 0.75, 1, 0.5, 0.5]]))
  np.testing.assert_array_equal(boxes, [[0.25, 0.5, 0.75, 1, 0.5, 0.5, 0.25]])
  assert boxes.dtype == np.float32


def test_make_boxes7_multiplies_stored_values_in_float32():
  stored = np.array([[0, 0, 0, 0, 1 / 3, 1 / 3]], np.float16)
  area = regions_lib.make_boxes7(stored)[0, 6]
  assert area == np.float32(stored[0, 4]) ** 2
  assert area != np.float32(stored[0, 4] * stored[0, 5])


@pytest.mark.parametrize('dtype', [np.float16, np.float32])
def test_pad_regions(dtype):
  regions = _regions(dtype=dtype)
  features, boxes, mask = regions_lib.pad_regions(regions, 5)
  assert features.shape == (5, 4) and features.dtype == dtype
  assert boxes.shape == (5, 7) and boxes.dtype == np.float32
  np.testing.assert_array_equal(mask, [True, True, True, False, False])
  np.testing.assert_array_equal(features[:3], regions.features)
  np.testing.assert_array_equal(boxes[:3], regions.boxes)
  assert not features[3:].any() and not boxes[3:].any()


def test_pad_regions_exactly_full():
  assert regions_lib.pad_regions(_regions(), 3)[2].all()


def test_pad_regions_too_many():
  with pytest.raises(UserError, match='at most max_regions = 2 .*got 3'):
    regions_lib.pad_regions(_regions(), 2)


def test_check_regions_accepts_good_ones():
  regions_lib.check_regions(_regions(), 'image a', 4, np.dtype(np.float16))
  regions_lib.check_regions(_regions(dtype=np.float32), 'image a')


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('field', ['features', 'boxes'])
def test_check_regions_not_finite(value, field):
  regions = _regions()
  getattr(regions, field)[1, 2] = value
  with pytest.raises(
    UserError, match=f'image a: {field} must be finite.*region 1, column 2'
  ):
    regions_lib.check_regions(regions, 'image a')


@pytest.mark.parametrize(
  'regions, message',
  [
    (_regions(0), 'image a: expected at least 1 region, got 0'),
    (_regions(feature_size=5), r'shape \[regions, 4\], got \[3, 5\]'),
    (Regions(np.zeros(4, np.float16), np.zeros((1, 7))), 'features must have'),
    (
      Regions(np.zeros((1, 4), np.float16), np.zeros((1, 6))),
      r'boxes must have shape \[regions, 7\], got \[1, 6\]',
    ),
    (Regions(np.zeros((2, 4), np.float16), np.zeros((3, 7))), '2 and 3'),
    (_regions(dtype=np.int64), 'float16 or float32, got int64'),
    (
      Regions(np.zeros((1, 4), np.float16), np.full((1, 7), 300.0)),
      "image a: boxes must be divided by the image's width or height, got 300 "
      '300 300 300 300 300 in region 0; divide them',
    ),
  ],
)
def test_check_regions_errors(regions, message):
  with pytest.raises(UserError, match=message):
    regions_lib.check_regions(regions, 'image a', 4)


def test_check_regions_other_dtype():
  with pytest.raises(UserError, match='must be float32, got float16'):
    regions_lib.check_regions(_regions(), 'image a', 4, np.dtype(np.float32))
