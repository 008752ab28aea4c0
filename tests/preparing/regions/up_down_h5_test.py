"""HDF5 files of up-down VQA: where the ids are, spans, and damage."""

import json
import pickle

import numpy as np
import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import opening
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making

h5py = pytest.importorskip('h5py')


def _write(folder, index='json', **changed):
  made = making.pictures()
  path = making.write_h5(folder, made, index)
  with h5py.File(path, 'a') as file:
    for key, value in changed.items():
      if key in file:
        del file[key]
      if value is not None:
        file[key] = value
  return path


def _rows():
  return {int(name): i for i, name in enumerate(making.pictures())}


def _index(path, suffix):
  return path.with_name(f'train36_imgid2idx{suffix}')


def _check(path):
  store = opening.open_store(str(path))
  made = making.pictures()
  assert list(store.names) == list(made)
  for read, item in zip(store.read(list(made)), made.values()):
    np.testing.assert_array_equal(read.features, item.features)
    np.testing.assert_array_equal(read.boxes, item.six)
  return store


def test_ids_in_json_npz_pickle_or_the_file_itself(tmp_path):
  path = _write(tmp_path / 'list', None)
  _index(path, '.json').write_text(json.dumps(list(_rows())))
  assert _check(path).sources == (str(path), str(_index(path, '.json')))

  path = _write(tmp_path / 'npz', None)
  np.savez(_index(path, '.npz'), ids=list(_rows()))
  _check(path)
  np.savez(_index(path, '.npz'), ids=list(_rows())[::-1], rows=[3, 2, 1, 0])
  store = opening.open_store(str(path))
  assert store.read(['1000'])[0].features.tobytes() == (
    making.pictures()['1000'].features.tobytes()
  )

  path = _write(tmp_path / 'pickle', None)
  _index(path, '.pkl').write_bytes(pickle.dumps(_rows(), 2))
  _check(path)

  for ids in (list(_rows()), [str(x).encode() for x in _rows()]):
    path = _write(tmp_path / f'in{type(ids[0])}', None, image_ids=ids)
    assert _check(path).sources == (str(path),)


def test_boxes_in_pixels_where_there_are_no_others(tmp_path):
  path = _write(tmp_path, spatial_features=None)
  (read,) = opening.open_store(str(path)).read(['1007'])
  np.testing.assert_array_equal(read.boxes, making.pictures()['1007'].boxes)


def test_files_with_a_span_of_rows_per_picture(tmp_path):
  made = making.pictures()
  flat = lambda what: np.concatenate([getattr(x, what) for x in made.values()])
  path = _write(
    tmp_path,
    image_features=flat('features'),
    spatial_features=flat('six'),
    pos_boxes=[[0, 4], [4, 8], [8, 8], [8, 99]],
  )
  store = opening.open_store(str(path))
  good, _, empty, wrong = store.read(list(made))
  np.testing.assert_array_equal(good.features, made['1000'].features)
  assert 'picture 1014: must have at least 1 region, got 0' in empty.reason
  assert 'picture 1021: pos_boxes must be two rows of image_' in wrong.reason


@pytest.mark.parametrize(
  ('suffix', 'content', 'match'),
  [
    ('.json', b'{"1000": 4}', 'row of picture .1000. must be 0..3 of .* got 4'),
    ('.json', b'{"1000": "0"}', "row of picture .1000. must be .* got '0'"),
    ('.json', b'[1, 2, 3, 4, 5]', 'row of picture .5. must be 0..3'),
    ('.json', b'[1, 1]', "picture '1' must be one row of .* got 0 and 1"),
    ('.json', b'5', 'imgid2idx.json must give the row of each image id'),
    ('.json', b'{"1000"', 'imgid2idx.json must give the row of each image id'),
    ('.json', b'{}', 'must contain regions of pictures'),
    ('.npz', b'PK\x03\x04', 'imgid2idx.npz must give the row of each image id'),
    ('.pkl', pickle.dumps({1: 'a'}), 'got it contains other things than whole'),
    ('.pkl', b'', 'imgid2idx.pkl must give the row of each image id'),
  ],
)
def test_lists_of_rows_that_are_wrong(suffix, content, match, tmp_path):
  path = _write(tmp_path, None)
  _index(path, suffix).write_bytes(content)
  with pytest.raises(UserError, match=match):
    opening.open_store(str(path))


def test_no_list_of_rows(tmp_path):
  path = _write(tmp_path, None)
  with pytest.raises(UserError, match='expected train36_imgid2idx.json .or'):
    opening.open_store(str(path))


@pytest.mark.parametrize(
  ('changed', 'match'),
  [
    ({'image_features': None}, 'must contain image_features and image_bb or'),
    (
      {'image_bb': None, 'spatial_features': None},
      'must contain image_features and image_bb or',
    ),
    ({'spatial_features': np.zeros((3, 4, 6))}, 'spatial_features must have 3'),
    ({'spatial_features': np.zeros((4, 6))}, 'spatial_features must have 3'),
    ({'image_features': np.zeros((4, 4))}, 'image_features must have 3 dimen'),
    ({'spatial_features': np.zeros((4, 5, 6))}, 'boxes must have shape .4, 4.'),
  ],
)
def test_arrays_that_are_wrong(changed, match, tmp_path):
  path = _write(tmp_path, **changed)
  with pytest.raises(UserError, match=match):
    opening.open_store(str(path))


@pytest.mark.parametrize('part', [0.02, 0.5, 0.9])
def test_a_cut_file(part, tmp_path):
  path = _write(tmp_path)
  content = path.read_bytes()
  path.write_bytes(content[: int(len(content) * part)])
  with pytest.raises(UserError, match='train36.hdf5 must be an HDF5 file, got'):
    opening.open_store(str(path))


def test_nan_is_one_picture(tmp_path):
  features = np.stack([x.features for x in making.pictures().values()])
  features[1, 2, 3] = np.inf
  store = opening.open_store(str(_write(tmp_path, image_features=features)))
  good, bad = store.read(['1000', '1007'])
  assert isinstance(good, StoredRegions)
  assert isinstance(bad, Unreadable) and 'got inf in region 2' in bad.reason


def test_without_the_extra(tmp_path, monkeypatch):
  path = _write(tmp_path)
  monkeypatch.setitem(__import__('sys').modules, 'h5py', None)
  with pytest.raises(UserError, match=r'needs h5py, .* "tagsdc_jax\[h5\]"'):
    opening.open_store(str(path))
