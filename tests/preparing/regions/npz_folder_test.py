"""Folders of .npz files: UNITER's, and BUA's with a pickle that stays shut."""

import pickle

import numpy as np
import pytest

from tagsdc_jax.preparing.regions import npz_folder
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making


class _Bomb:
  def __reduce__(self):
    return (pytest.fail, ('the pickle was read',))


def _save(path, made, **others):
  arrays = {
    'x': made.features,
    'bbox': made.boxes,
    'num_bbox': len(made.boxes),
    'image_h': made.height,
    'image_w': made.width,
  } | others
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


def test_the_pickle_is_never_read(tmp_path):
  made = making.picture(0)
  _save(tmp_path / '1.npz', made, info=np.array(_Bomb(), object))
  (read,) = npz_folder.BuaStore(tmp_path).read(['1'])
  np.testing.assert_array_equal(read.features, made.features)
  _save(tmp_path / '2.npz', made, bbox=np.array([_Bomb()], object))
  (read,) = npz_folder.BuaStore(tmp_path).read(['2'])
  assert '2.npz: must be an .npz file with x, bbox' in read.reason
  with pytest.raises(pytest.fail.Exception):
    pickle.loads(pickle.dumps(_Bomb()))


@pytest.mark.parametrize(
  ('others', 'match'),
  [
    ({'num_bbox': 5}, 'x must have 5 rows, as num_bbox says, got shape [4, 12'),
    ({'num_bbox': 0}, 'x must have 0 rows'),
    ({'num_bbox': 2.5}, 'num_bbox must be a whole number, got array(2.5)'),
    ({'num_bbox': 'four'}, 'num_bbox must be a whole number'),
    ({'num_bbox': [4, 4]}, 'num_bbox must be a whole number'),
    ({'bbox': np.zeros((4, 5))}, 'boxes must have shape [4, 4] or [4, 6]'),
    ({'bbox': np.zeros(4)}, 'bbox must have 4 rows'),
    ({'bbox': None}, 'must contain x, bbox, num_bbox, image_h, image_w (BUA'),
    ({'image_h': -5}, 'image_h must be a whole number'),
    ({'image_w': np.inf}, 'image_w must be a whole number'),
    ({'x': np.array([['a'] * 12] * 4)}, 'features must be numbers, got <U1'),
    ({'x': np.zeros((4, 3, 2))}, 'x must have 4 rows'),
  ],
)
def test_bua_files_that_are_wrong(others, match, tmp_path):
  _save(tmp_path / '1.npz', making.picture(0))
  _save(tmp_path / '2.npz', making.picture(1), **others)
  good, bad = npz_folder.BuaStore(tmp_path).read(['1', '2'])
  assert isinstance(good, StoredRegions)
  assert isinstance(bad, Unreadable)
  assert bad.reason.startswith(f'{tmp_path}/2.npz: ')
  assert match in bad.reason


@pytest.mark.parametrize('size', [0, 1, 10, 200, 700, -1])
@pytest.mark.parametrize('kind', ['uniter', 'bua'])
def test_files_that_are_cut(kind, size, tmp_path):
  made = making.pictures()
  getattr(making, f'write_{kind}_npz')(tmp_path, made)
  path = tmp_path / '1000.npz'
  path.write_bytes(path.read_bytes()[:size])
  store_of = {'uniter': npz_folder.UniterNpzStore, 'bua': npz_folder.BuaStore}
  store = store_of[kind](tmp_path)
  read = store.read(list(store.names))
  assert '1000.npz: must be an .npz file' in read[0].reason
  assert [type(x) for x in read].count(StoredRegions) == 3


@pytest.mark.parametrize(
  ('others', 'match'),
  [
    ({'norm_bb': np.zeros((4, 4))}, 'norm_bb must have shape [regions, 6]'),
    ({'conf': np.zeros(3)}, 'confidence must be 4, one per region, got 3'),
    ({'soft_labels': np.zeros(4)}, 'soft_labels must have shape'),
    ({'soft_labels': np.zeros((3, 9))}, 'labels must be 4, one per region'),
    ({'features': np.zeros(4)}, 'features must have shape [regions, numbers]'),
  ],
)
def test_uniter_files_that_are_wrong(others, match, tmp_path):
  made = making.pictures(2)
  making.write_uniter_npz(tmp_path, made)
  record = making.uniter_record(made['1007'])
  np.savez(tmp_path / '1007.npz', **(record | others))
  _, bad = npz_folder.UniterNpzStore(tmp_path).read(['1000.npz', '1007.npz'])
  assert match in bad.reason
  assert bad.reason.startswith(f'{tmp_path}/1007.npz: ')


def test_confidence_and_labels_may_be_missing(tmp_path):
  record = making.uniter_record(making.picture(0))
  np.savez(
    tmp_path / 'a.npz', features=record['features'], norm_bb=record['norm_bb']
  )
  (read,) = npz_folder.UniterNpzStore(tmp_path).read(['a.npz'])
  assert read.confidence is None and read.labels is None


def test_names_end_at_the_suffix_and_hidden_files_are_passed_over(tmp_path):
  _save(tmp_path / 'a.b.npz', making.picture(0))
  (tmp_path / '._a.b.npz').write_bytes(b'x')
  assert list(npz_folder.BuaStore(tmp_path).names) == ['a.b']


def test_a_file_that_cannot_be_opened_is_one_picture(tmp_path):
  made = making.pictures()
  making.write_bua_npz(tmp_path, made)
  (tmp_path / '1000.npz').unlink()
  (tmp_path / '1000.npz').symlink_to('nowhere')
  (tmp_path / '1007.npz').unlink()
  (tmp_path / '1007.npz').mkdir()
  read = npz_folder.BuaStore(tmp_path).read(list(made))
  assert '1000.npz: cannot be opened: No such file' in read[0].reason
  assert '1007.npz: cannot be opened: Is a directory' in read[1].reason
  assert isinstance(read[2], StoredRegions)
