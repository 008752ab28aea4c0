"""From what a file has to what the data set stores, by hand."""

import dataclasses
import json

import numpy as np
import pytest

from tagsdc_jax.preparing.regions import conventions, converting
from tagsdc_jax.preparing.regions.converting import Tally
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

_PIXELS = conventions.Convention(
  'BUTD tsv', 4, conventions.CORNERS, False, True, False, False, 3, 200
)
_SIX = dataclasses.replace(
  _PIXELS, kind='VinVL retrieval tsv', columns=6, is_divided=True
)
_UNITER = dataclasses.replace(_SIX, kind='UNITER LMDB', as_stored=True)
_NO_BOXES = dataclasses.replace(_PIXELS, columns=0, kind='precomp')


def _regions(boxes, confidence=None, width=200, height=100, features=None):
  count = 2 if boxes is None else len(boxes)
  if features is None:
    features = np.arange(count * 3, dtype='f4').reshape(count, 3)
  return StoredRegions(
    features,
    None if boxes is None else np.array(boxes, 'f4'),
    None if confidence is None else np.array(confidence, 'f4'),
    np.arange(count) + 50,
    width,
    height,
  )


def _convert(regions, convention=_PIXELS, limit=100, size=(0, 0)):
  found = converting.convert(
    regions, convention, 'a.tsv: picture 7', limit, size
  )
  assert not isinstance(found, Unreadable), found
  return found


def _reason(regions, convention=_PIXELS, size=(0, 0)):
  found = converting.convert(regions, convention, 'a.tsv: picture 7', 100, size)
  assert isinstance(found, Unreadable)
  assert found.reason.startswith('a.tsv: picture 7: ')
  return found.reason


def test_pixels_by_hand():
  prepared, tally = _convert(_regions([[0, 0, 200, 100], [50, 25, 150, 75]]))
  np.testing.assert_array_equal(
    prepared.boxes,
    np.array([[0, 0, 1, 1, 1, 1], [0.25, 0.25, 0.75, 0.75, 0.5, 0.5]], 'f4'),
  )
  assert prepared.features.dtype == np.float16
  assert prepared.boxes.dtype == np.float32
  assert prepared.confidence is None
  np.testing.assert_array_equal(prepared.labels, [50, 51])
  assert (prepared.width, prepared.height) == (200, 100)
  assert tally == Tally(pictures=1, regions=2)
  assert tally.lines() == []


def test_what_is_wrong_with_a_box_is_put_right_and_counted():
  prepared, tally = _convert(
    _regions(
      [
        [150, 75, 50, 25],  # Corners in each other's place.
        [-20, 50, 300, 120],  # Beyond the picture.
        [60, 40, 60, 80],  # No width.
        [300, 20, 400, 80],  # Outside.
        [0, 0, 20, 10],
      ]
    )
  )
  np.testing.assert_allclose(
    prepared.boxes,
    [
      [0.25, 0.25, 0.75, 0.75, 0.5, 0.5],
      [0, 0.5, 1, 1, 1, 0.5],
      [0, 0, 0.1, 0.1, 0.1, 0.1],
    ],
    rtol=1e-6,
  )
  np.testing.assert_array_equal(prepared.features[:, 0], [0, 3, 12])
  np.testing.assert_array_equal(prepared.labels, [50, 51, 54])
  assert tally == Tally(pictures=1, regions=3, clipped=1, swapped=1, dropped=2)
  assert tally.lines() == [
    '1 boxes reached beyond their picture and were clipped',
    '1 boxes had their corners in the wrong order, put right',
    '2 regions without an area were left out',
  ]


def test_sorted_by_confidence_and_cut():
  boxes = [[0, 0, 10 * (i + 1), 10] for i in range(4)]
  prepared, tally = _convert(_regions(boxes, [0.1, 0.9, 0.5, 0.9]), limit=3)
  np.testing.assert_array_equal(prepared.features[:, 0], [3, 9, 6])
  np.testing.assert_allclose(prepared.confidence, [0.9, 0.9, 0.5])
  np.testing.assert_array_equal(prepared.labels, [51, 53, 52])
  np.testing.assert_allclose(prepared.boxes[:, 2], [0.1, 0.2, 0.15])
  assert tally == Tally(pictures=1, regions=3, reordered=1, cut=1)
  _, tally = _convert(_regions(boxes, [0.9, 0.5, 0.5, 0.1]), limit=4)
  assert tally == Tally(pictures=1, regions=4)
  prepared, tally = _convert(_regions(boxes), limit=1)
  np.testing.assert_array_equal(prepared.features[:, 0], [0])
  assert tally == Tally(pictures=1, regions=1, cut=3)


def test_sizes_from_the_captions_or_exchanged():
  boxes = [[0, 0, 50, 50]]
  prepared, _ = _convert(_regions(boxes, width=0, height=0), size=(100, 50))
  np.testing.assert_allclose(prepared.boxes[0, :4], [0, 0, 0.5, 1])
  assert (prepared.width, prepared.height) == (100, 50)
  # What the file says holds: the boxes are those of its picture.
  prepared, _ = _convert(_regions(boxes), size=(100, 50))
  np.testing.assert_allclose(prepared.boxes[0, :4], [0, 0, 0.25, 0.5])
  exchanged = dataclasses.replace(_PIXELS, is_exchanged=True)
  prepared, tally = _convert(_regions(boxes), exchanged)
  np.testing.assert_allclose(prepared.boxes[0, :4], [0, 0, 0.5, 0.25])
  assert (prepared.width, prepared.height) == (100, 200)
  assert tally == Tally(pictures=1, regions=1, exchanged=1)


def test_numbers_beyond_float16_are_set_to_its_largest_and_counted():
  features = np.array([[70000, -1e9, 65504], [1, 2, 65519]], 'f4')
  boxes = [[0, 0, 5, 5], [0, 0, 6, 6]]
  prepared, tally = _convert(_regions(boxes, features=features))
  np.testing.assert_array_equal(
    prepared.features, np.array([[65504, -65504, 65504], [1, 2, 65504]])
  )
  assert np.isfinite(prepared.features).all()
  assert tally.overflowed == 3
  assert tally.lines() == ['3 features were beyond float16, set to 65504']


def test_formats_without_boxes_get_the_whole_picture():
  prepared, tally = _convert(_regions(None, width=0, height=0), _NO_BOXES)
  np.testing.assert_array_equal(prepared.boxes, [[0, 0, 1, 1, 1, 1]] * 2)
  assert tally == Tally(pictures=1, regions=2)


def test_divided_boxes_stay_the_same_bits_unless_they_are_clipped():
  rng = np.random.default_rng(0)
  corners = np.sort(rng.uniform(size=(5, 2, 2)), axis=1)
  six = np.concatenate(
    [corners.reshape(5, 4), corners[:, 1] - corners[:, 0]], axis=1
  ).astype('f4')
  six[:, 4:] += 1e-4  # As some detectors count a pixel more.
  six[1, 2] = 1.05
  prepared, tally = _convert(_regions(six, width=0, height=0), _SIX)
  assert prepared.boxes[[0, 2, 3, 4]].tobytes() == six[[0, 2, 3, 4]].tobytes()
  np.testing.assert_allclose(
    prepared.boxes[1],
    [*six[1, :2], 1, six[1, 3], 1 - six[1, 0], six[1, 3] - six[1, 1]],
    rtol=1e-5,
  )
  assert tally.clipped == 1


def test_uniter_is_kept_to_the_bit_even_where_it_overshoots():
  six = np.array(
    [[-0.01, 0, 1.02, 1, 1.03, 1], [0.5, 0.5, 0.5, 0.7, 0, 0.2]], 'f2'
  )
  regions = dataclasses.replace(
    _regions([[0] * 6] * 2, [0.2, 0.9], 0, 0), boxes=six
  )
  prepared, tally = _convert(regions, _UNITER)
  assert prepared.boxes.tobytes() == six.astype('f4').tobytes()
  assert tally == Tally(pictures=1, regions=2)  # Nor sorted.
  prepared, tally = _convert(regions, _UNITER, limit=1)
  assert prepared.boxes.tobytes() == six[1:].astype('f4').tobytes()
  assert tally == Tally(pictures=1, regions=1, reordered=1, cut=1)


@pytest.mark.parametrize(
  ('regions', 'convention', 'match'),
  [
    (_regions([[0, 0, 5, np.nan]]), _PIXELS, 'boxes must be finite'),
    (
      _regions([[0, 0, 5, 5]], features=np.full((1, 3), np.inf, 'f4')),
      _PIXELS,
      'features must be finite',
    ),
    (_regions([[0, 0, 0, 5]]), _PIXELS, 'at least 1 box with an area'),
    (_regions([[0, 0, 5, 5]], width=0), _PIXELS, 'boxes are in pixels, but wi'),
    (_regions([[0, 0, 1, 1]]), _SIX, 'boxes must have 6 numbers, as in other'),
    (_regions([[0, 0, 1, 1, 0.5, 1]]), _SIX, 'with w = x2 - x1'),
    (_regions([[0, 0, 50, 50, 50, 50]]), _UNITER, 'must be divided by the'),
    (_regions(np.zeros((0, 4))), _PIXELS, 'at least 1 region, got 0'),
  ],
)
def test_pictures_that_cannot_be_used(regions, convention, match):
  assert match in _reason(regions, convention)


def test_tallies_add_up_and_are_json():
  one = Tally(1, 36, clipped=2, cut=64)
  both = one + Tally(1, 10, clipped=1, overflowed=5)
  assert both == Tally(2, 46, clipped=3, cut=64, overflowed=5)
  assert Tally.from_json(json.loads(json.dumps(both.to_json()))) == both
