"""Every format: recognized, read to the same numbers, damaged in every way."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import opening
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making

_HAS_BOXES = [k for k in making.FORMATS if k not in ('precomp', 'grid_feats')]
# Boxes of these are in pixels and the file has the size of the picture.
_HAS_SIZES = ('butd_tsv', 'lxmert_tsv', 'bua_npz', 'vinvl_predictions')
_DIVIDED = [kind for kind in _HAS_BOXES if kind not in _HAS_SIZES]
# One array holds all pictures, so that they have the same number of regions.
_STACKED = ('precomp', 'updown_h5')


def _written(kind, folder, made):
  if kind in making.EXTRAS:
    pytest.importorskip(making.EXTRAS[kind])
  return str(making.FORMATS[kind](folder / kind, made))


def _names(kind, made):
  suffix = '.npz' if kind.startswith('uniter') else ''
  return [name + suffix for name in made]


@pytest.fixture(params=making.FORMATS, name='kind')
def _kind(request):
  return request.param


def test_every_kind_has_a_writer():
  assert making.FORMATS.keys() == opening.STORES.keys()


def test_it_is_recognized_and_read(kind, tmp_path):
  made = making.pictures()
  path = _written(kind, tmp_path, made)
  store = opening.open_store(path)
  assert type(store) is opening.STORES[kind]
  assert sorted(store.names) == sorted(_names(kind, made))
  assert store.feature_size == making.SIZE
  assert all(Path(source).read_bytes() for source in store.sources)
  for name, item in zip(_names(kind, made), made.values()):
    (read,) = store.read([name])
    assert isinstance(read, StoredRegions)
    np.testing.assert_array_equal(
      np.asarray(read.features, 'f4'), item.features
    )
    if kind in _HAS_SIZES:
      np.testing.assert_array_equal(read.boxes, item.boxes)
      assert (read.width, read.height) == (item.width, item.height)
    elif kind in _DIVIDED:
      np.testing.assert_allclose(read.boxes, item.six, atol=2**-11)
      assert (read.width, read.height) == (0, 0)
    if kind in ('uniter_lmdb', 'uniter_npz', 'lxmert_tsv', 'vinvl_predictions'):
      np.testing.assert_array_equal(
        np.asarray(read.confidence, 'f4'), item.confidence
      )
    if kind in ('uniter_npz', 'lxmert_tsv'):
      np.testing.assert_array_equal(read.labels, item.labels)


def test_a_pickled_store_reads_the_same_in_any_order(kind, tmp_path):
  made = making.pictures()
  store = opening.open_store(_written(kind, tmp_path, made))
  names = list(store.names)
  copy = pickle.loads(pickle.dumps(store))
  for one, other in zip(store.read(names), copy.read(names[::-1])[::-1]):
    assert one.features.tobytes() == other.features.tobytes()


def test_a_relative_path_survives_a_change_of_folder(
  kind, tmp_path, monkeypatch
):
  path = _written(kind, tmp_path, making.pictures())
  monkeypatch.chdir(tmp_path)
  store = opening.open_store(path.removeprefix(f'{tmp_path}/'))
  monkeypatch.chdir('/')
  assert isinstance(store.read(list(store.names)[:1])[0], StoredRegions)


def test_nan_is_named(kind, tmp_path):
  made = making.pictures()
  item = list(made.values())[1]
  item.features[2, 3] = np.nan
  store = opening.open_store(_written(kind, tmp_path, made))
  read = store.read(_names(kind, made))
  assert [type(x) for x in read].count(Unreadable) == 1
  reason = read[1].reason
  assert 'finite, got nan in region ' in reason
  assert _names(kind, made)[1] in reason
  assert store.path.split('/')[-1] in reason
  assert '\n' not in reason


@pytest.mark.parametrize('kind', sorted(_HAS_BOXES))
def test_a_box_that_is_not_finite_is_named(kind, tmp_path):
  made = making.pictures()
  list(made.values())[1].boxes[0, 0] = np.inf
  if kind == 'vinvl_predictions':  # JSON of Python.
    expected = 'rect of object 0 must be four numbers, got [inf'
  else:
    expected = 'boxes must be finite, got inf'
  with np.errstate(all='ignore'):
    store = opening.open_store(_written(kind, tmp_path, made))
  assert expected in store.read(_names(kind, made))[1].reason


@pytest.mark.parametrize('kind', sorted(set(making.FORMATS) - {*_STACKED}))
def test_no_region_is_named(kind, tmp_path):
  made = making.pictures()
  name = list(made)[1]
  if kind == 'grid_feats':
    torch = pytest.importorskip('torch')
    path = _written(kind, tmp_path, made)
    torch.save(torch.zeros(1, 12, 0, 3), f'{path}/{name}.pth')
  else:
    made[name] = making.picture(1, regions=0)
    path = _written(kind, tmp_path, made)
  read = opening.open_store(path).read(_names(kind, made))
  assert 'at least 1' in read[1].reason
  assert name in read[1].reason
  assert [type(x) for x in read].count(Unreadable) == 1


@pytest.mark.parametrize('kind', sorted(set(making.FORMATS) - {*_STACKED}))
def test_another_number_of_features_is_named(kind, tmp_path):
  made = making.pictures()
  name = list(made)[1]
  made[name] = making.picture(1, size=5)
  read = opening.open_store(_written(kind, tmp_path, made)).read(
    _names(kind, made)
  )
  assert name in read[1].reason
  assert '12' in read[1].reason and '5' in read[1].reason
  assert [type(x) for x in read].count(Unreadable) == 1


@pytest.mark.parametrize('kind', sorted(set(_HAS_BOXES) - {*_STACKED}))
def test_fewer_boxes_than_features_are_named(kind, tmp_path):
  made = making.pictures()
  name = list(made)[1]
  made[name] = dataclasses.replace(made[name], boxes=made[name].boxes[:3])
  if kind.startswith('vinvl'):
    pytest.skip('features and boxes are in one array, or in one object')
  read = opening.open_store(_written(kind, tmp_path, made)).read(
    _names(kind, made)
  )
  assert name in read[1].reason
  assert [type(x) for x in read].count(Unreadable) == 1


def test_a_path_that_is_missing(tmp_path):
  with pytest.raises(UserError, match='nowhere are missing; check the path'):
    opening.open_store(str(tmp_path / 'nowhere'))


def test_an_unknown_kind(tmp_path):
  with pytest.raises(UserError, match="one of uniter_lmdb, .* got 'butd'"):
    opening.open_store(str(tmp_path), 'butd')


@pytest.mark.parametrize(
  ('kind', 'match'),
  [
    ('butd_tsv', 'must be a file to be read as butd_tsv, got a folder'),
    ('precomp', 'must contain regions of pictures'),
    ('bua_npz', 'must contain regions of pictures'),
    ('grid_feats', 'must contain regions of pictures'),
  ],
)
def test_an_empty_folder_of_a_kind(kind, match, tmp_path):
  if kind in making.EXTRAS:
    pytest.importorskip(making.EXTRAS[kind])
  with pytest.raises(UserError, match=match):
    opening.open_store(str(tmp_path), kind)


def test_a_file_of_another_kind_than_was_said(tmp_path):
  path = _written('butd_tsv', tmp_path, making.pictures())
  with pytest.raises(UserError, match=r'must have 10 columns .*, got 6'):
    opening.open_store(path, 'lxmert_tsv')


@pytest.mark.parametrize(
  ('name', 'content', 'match'),
  [
    ('a.tsv', b'', 'a.tsv is empty'),
    ('a.tsv', b'<!doctype html><p>log in', 'is a web page'),
    (
      'a.tsv',
      b'version https://git-lfs.github.com/spec/v1\noid',
      'is a Git LFS pointer',
    ),
    ('a.tsv', b'1\t2\t3\t4\n', r'must have 6 columns .*, got 4'),
    ('a.tsv', b'no tabs at all\n', r'must have 6 columns .*, got 1'),
    ('a.pkl', b'\x80\x04}.', r'holds pickles, .* numpy.savez\(NAME'),
    ('a.npy', b'\x93NUMPY\x01\x00', 'holds pickles'),
    ('train_ims.npy', b'\x93NUMPY\x01\x00', 'one file of a folder'),
    ('a.npz', b'PK\x03\x04', 'one file of a folder'),
    ('a.pth', b'PK\x03\x04', 'one file of a folder'),
  ],
)
def test_files_that_are_refused(name, content, match, tmp_path):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=match):
    opening.open_store(str(tmp_path / name))


@pytest.mark.parametrize(
  ('names', 'match'),
  [
    ((), 'got nothing; pass their file or folder'),
    (('a.jpg', 'b.jpg'), r'must contain region features .*, got a.jpg, b.jpg'),
    (('a.npy', 'b.npy'), 'holds pickles'),
    (('a.tsv', 'b.tsv'), r'one file of region features, got a.tsv, b.tsv'),
    (('a.npz', 'b.npz'), 'a.npz and others cannot be read'),
  ],
)
def test_folders_that_are_refused(names, match, tmp_path):
  for name in names:
    (tmp_path / name).write_bytes(b'x')
  with pytest.raises(UserError, match=match):
    opening.open_store(str(tmp_path))


def test_npz_files_of_something_else(tmp_path):
  np.savez(tmp_path / 'a.npz', image=np.zeros(3))
  np.savez(tmp_path / 'b.npz', image=np.zeros(3))
  with pytest.raises(UserError, match=r"must contain features .* got \['image"):
    opening.open_store(str(tmp_path))


def test_a_pickled_lmdb_is_refused(tmp_path):
  import lmdb

  folder = tmp_path / 'coco.lmdb'
  with lmdb.open(str(folder), lock=False) as environment:
    with environment.begin(write=True) as transaction:
      transaction.put(b'1', pickle.dumps({'features': [1.0]}))
  with pytest.raises(UserError, match='coco.lmdb holds pickles'):
    opening.open_store(str(folder))


def test_the_file_of_a_folder_is_found(tmp_path):
  made = making.pictures()
  lines = [making.retrieval_line(name, item) for name, item in made.items()]
  making.write_lines(tmp_path / 'vinvl' / 'features.tsv', lines)
  making.write_lines(tmp_path / 'vinvl' / 'labels.tsv', [b'1\t[]'])
  store = opening.open_store(str(tmp_path))
  assert store.kind == 'VinVL retrieval tsv'
  assert store.path == str(tmp_path / 'vinvl' / 'features.tsv')
