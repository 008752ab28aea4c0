"""How a store writes boxes, found from its pictures."""

import dataclasses

import numpy as np
import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import conventions, converting
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making

_W, _H = 640, 480


def _store(change, sizes=None, count=40, kind='BUTD tsv'):
  """Returns a store of landscape pictures with changed boxes."""
  regions = {}
  for seed in range(count):
    made = making.picture(seed, 10, _W, _H)
    regions[str(seed)] = StoredRegions(
      made.features,
      None if change is None else change(made.six.astype('f8')).astype('f4'),
      width=sizes[0] if sizes else 0,
      height=sizes[1] if sizes else 0,
    )
  return making.Stored(regions, kind)


def _pixels(six):
  return six[:, :4] * np.array([_W, _H, _W, _H])


def _corner_size(six):
  return six[:, [0, 1, 4, 5]]


def _center_size(six):
  return np.concatenate([(six[:, :2] + six[:, 2:4]) / 2, six[:, 4:]], axis=1)


_ALL_SIZES = {str(i): (_W, _H) for i in range(40)}


@pytest.mark.parametrize(
  ('change', 'size', 'line'),
  [
    (lambda six: six, None, 'boxes x1 y1 x2 y2 divided by the picture'),
    (lambda six: six[:, :4], None, 'boxes x1 y1 x2 y2 divided by the picture'),
    (
      _pixels,
      (_W, _H),
      'boxes x1 y1 x2 y2 in pixels, picture sizes from the f',
    ),
    (_pixels, None, 'boxes x1 y1 x2 y2 in pixels, picture sizes from the capt'),
    (_pixels, (_H, _W), "where width and height are in each other's place"),
    (_corner_size, None, 'boxes x y w h divided by the picture, which is not'),
    (
      _center_size,
      None,
      'boxes cx cy w h divided by the picture, which is not',
    ),
    (
      lambda six: _pixels(_corner_size(six)),
      (_W, _H),
      'boxes x y w h in pixels, which is not what the format says',
    ),
    (None, None, 'no boxes: every region gets the whole picture as its box'),
  ],
)
def test_conventions_and_what_becomes_of_the_boxes(change, size, line):
  store = _store(change, size)
  sizes = _ALL_SIZES if size is None else {}
  convention = conventions.find(store, sizes)
  assert line in str(convention)
  assert '\n' not in str(convention)
  assert str(convention).startswith('BUTD tsv: 12 numbers per region')
  for seed in range(40):
    prepared, _ = converting.convert(
      store.regions[str(seed)],
      convention,
      'x',
      100,
      sizes.get(str(seed), (0, 0)),
    )
    if change is None:
      expected = np.array([[0, 0, 1, 1, 1, 1]] * 10)
    else:
      expected = making.picture(seed, 10, _W, _H).six
      expected = expected[(expected[:, 4:] > 0).all(axis=1)]
      if size is not None:
        assert (prepared.width, prepared.height) == (_W, _H)
    np.testing.assert_allclose(prepared.boxes, expected, atol=1e-6)


@pytest.mark.parametrize(
  ('change', 'size', 'match'),
  [
    (_pixels, None, 'has boxes in pixels, and the widths and heights of its'),
    (_pixels, (200, 100), r'0 0 640 480 in region 0 of picture 0, 200 x 100'),
    (lambda six: six[:, [2, 3, 0, 1]], None, 'look like x2 y2 x1 y1, corners'),
    (lambda six: six * [1, 1, 1, 1, 0, 0], None, 'with w and h not filled in'),
    (lambda six: six[:, :4] * 2 - 1, None, 'look like corners from -1 to 1'),
    (lambda six: six[:, [1, 0, 3, 2, 4, 5]], None, 'look like y1 x1 y2 x2 w h'),
    (lambda six: six[:, :4] * 100, (_W, _H), None),
  ],
)
def test_what_is_refused(change, size, match):
  store = _store(change, size)
  if match is None:  # Percent cannot be told from pixels of a large picture.
    assert not conventions.find(store).is_divided
    return
  with pytest.raises(UserError, match=match) as caught:
    conventions.find(store)
  assert str(caught.value).startswith('a.tsv')
  assert '\n' not in str(caught.value)


def test_exchanged_columns_are_told_by_the_sizes_of_the_captions():
  store = _store(lambda six: _pixels(six)[:, [1, 0, 3, 2]], (_W, _H))
  with pytest.raises(UserError, match='boxes must be x1 y1 x2 y2, but look'):
    conventions.find(store, _ALL_SIZES)
  # Without captions, the sizes may as well be the ones that are exchanged.
  assert conventions.find(store).is_exchanged


def test_one_box_that_is_wrong_is_an_accident():
  for change in (
    lambda box: box[[2, 3, 0, 1]],
    lambda box: box + [0, 0, 0, 300],
    lambda box: box * 0,
  ):
    store = _store(_pixels, (_W, _H))
    boxes = store.regions['3'].boxes.astype('f8')
    boxes[4] = change(boxes[4])
    store.regions['3'] = dataclasses.replace(
      store.regions['3'], boxes=boxes.astype('f4')
    )
    convention = conventions.find(store)
    assert (convention.order, convention.is_exchanged) == ('x1 y1 x2 y2', False)


def test_pictures_turned_in_part_of_the_file():
  store = _store(_pixels, (_W, _H))
  for seed in range(30):
    store.regions[str(seed)] = dataclasses.replace(
      store.regions[str(seed)], width=_H, height=_W
    )
  with pytest.raises(UserError, match='in 10 pictures, and exchanged in 30 of'):
    conventions.find(store)


def test_pictures_that_cannot_be_read():
  store = _store(_pixels, (_W, _H), count=4)
  store.regions['0'] = Unreadable('a.tsv: picture 0: broken')
  assert conventions.find(store).num_sampled == 3
  for name in store.regions:
    store.regions[name] = Unreadable(f'a.tsv: picture {name}: broken')
  with pytest.raises(UserError, match='none of the first 4 .* picture 0: brok'):
    conventions.find(store)


def test_boxes_of_four_and_six_numbers():
  store = _store(lambda six: six, count=4)
  store.regions['0'] = dataclasses.replace(
    store.regions['0'], boxes=store.regions['0'].boxes[:, :4]
  )
  with pytest.raises(UserError, match='boxes of 4 or of 6 numbers, got both'):
    conventions.find(store)


def test_only_the_first_two_hundred_are_looked_at():
  store = _store(lambda six: six, count=210)
  for seed in range(200, 210):
    store.regions[str(seed)] = Unreadable('late')
  assert conventions.find(store).num_sampled == 200


def test_the_sample_does_not_keep_features(monkeypatch):
  store = _store(lambda six: six)
  kept = list(conventions._sampled(store, conventions.SAMPLE))
  assert len(kept) == 40
  assert all(regions.features.base is None for _, regions in kept)


def test_uniters_files_in_another_order_are_converted():
  store = _store(_corner_size, kind='UNITER npz')
  convention = conventions.find(store)
  assert (convention.order, convention.as_stored) == ('x y w h', False)
