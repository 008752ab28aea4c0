"""Precomp folders: copies of a picture, lists beside the arrays, splits."""

import numpy as np
import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import opening
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making


@pytest.mark.parametrize('dtype', ['f2', 'f4', '>f4', 'f8'])
@pytest.mark.parametrize('copies', [1, 5])
@pytest.mark.parametrize('ids_copies', [1, 5])
def test_one_and_five_copies(copies, ids_copies, dtype, tmp_path):
  made = making.pictures()
  making.write_precomp(tmp_path, made, copies, ids_copies, dtype=dtype)
  store = opening.open_store(str(tmp_path))
  assert list(store.names) == list(made)
  for read, item in zip(store.read(list(made)), made.values()):
    np.testing.assert_array_equal(read.features.astype('f4'), item.features)
    assert read.boxes is None
  times = 'once' if copies == 1 else '5 times'
  assert store.notes == (f'train_ims.npy: 4 pictures, each stored {times}',)
  assert len(store.sources) == 3


def test_pictures_that_are_not_their_neighbors(tmp_path):
  making.write_precomp(tmp_path, making.pictures(), copies=5, ids_copies=1)
  rows = np.load(tmp_path / 'train_ims.npy')
  rows[7, 0, 0] += 1
  np.save(tmp_path / 'train_ims.npy', rows)
  store = opening.open_store(str(tmp_path))
  read = store.read(list(store.names))
  assert [type(x) for x in read].count(Unreadable) == 1
  assert (
    'train_ims.npy, row 5: picture 1007: must be stored 5 times in a row, but '
    'rows 5 and 7 differ'
  ) in read[1].reason


def test_twenty_pictures_in_place_of_copies(tmp_path):
  making.write_precomp(tmp_path, making.pictures(20))
  ids = '\n'.join(str(x) for x in range(4))
  (tmp_path / 'train_ids.txt').write_text(ids)
  with pytest.raises(UserError, match='none of its first 4 pictures can; the'):
    opening.open_store(str(tmp_path))


def test_copies_with_ids_of_their_own(tmp_path):
  making.write_precomp(tmp_path, making.pictures(), copies=5)
  ids = '\n'.join(str(x) for x in range(20))
  (tmp_path / 'train_ids.txt').write_text(ids)
  with pytest.raises(UserError, match='must give the five equal rows of a'):
    opening.open_store(str(tmp_path))


def test_splits_may_share_pictures_that_are_equal(tmp_path):
  made = making.pictures(6)
  some = dict(list(made.items())[:2])
  making.write_precomp(tmp_path, made, split='testall')
  making.write_precomp(tmp_path, some, split='test', copies=5)
  store = opening.open_store(str(tmp_path))
  assert sorted(store.names) == sorted(made)
  assert all(isinstance(x, StoredRegions) for x in store.read(list(made)))

  rows = np.load(tmp_path / 'testall_ims.npy')
  rows[1] += 1
  np.save(tmp_path / 'testall_ims.npy', rows)
  store = opening.open_store(str(tmp_path))
  first, second = store.read(list(made)[:2])
  assert isinstance(first, StoredRegions)
  assert (
    'row 5 of test_ims.npy and row 1 of testall_ims.npy differ' in second.reason
  )


def test_an_id_twice(tmp_path):
  making.write_precomp(tmp_path, making.pictures())
  (tmp_path / 'train_ids.txt').write_text('1\n2\n1\n3\n')
  store = opening.open_store(str(tmp_path))
  first, second, third = store.read(['1', '2', '3'])
  assert 'row 0 of train_ims.npy and row 2 of train_ims.npy' in first.reason
  assert isinstance(second, StoredRegions) and isinstance(third, StoredRegions)


def test_one_vector_per_picture(tmp_path):
  making.write_precomp(tmp_path, making.pictures())
  rows = np.load(tmp_path / 'train_ims.npy')[:, 0]
  np.save(tmp_path / 'train_ims.npy', rows)
  (read,) = opening.open_store(str(tmp_path)).read(['1007'])
  np.testing.assert_array_equal(read.features, rows[1:2])


@pytest.mark.parametrize(
  ('file', 'content', 'match'),
  [
    ('ids', None, 'train_ids.txt is missing; expected the id of a picture'),
    ('ids', '1\n2\n3\n', 'train_ids.txt must have a line per .*, 4, .* got 3'),
    ('ids', '1\n2\n\x00\n4\n', 'train_ids.txt, line 3 must be text'),
    ('ids', '1\n2\n\udcff\n4\n', 'train_ids.txt must be text in UTF-8'),
    ('caps', 'a\n' * 7, 'train_caps.txt must have as many .*, 4, .* got 7'),
  ],
)
def test_lists_that_do_not_fit(file, content, match, tmp_path):
  making.write_precomp(tmp_path, making.pictures())
  path = tmp_path / f'train_{file}.txt'
  if content is None:
    path.unlink()
  else:
    path.write_bytes(content.encode('utf-8', 'surrogateescape'))
  with pytest.raises(UserError, match=match):
    opening.open_store(str(tmp_path))


def test_captions_may_be_missing(tmp_path):
  making.write_precomp(tmp_path, making.pictures())
  (tmp_path / 'train_caps.txt').unlink()
  assert len(opening.open_store(str(tmp_path)).names) == 4


@pytest.mark.parametrize(
  'damage',
  [
    lambda content: content[:-1],
    lambda content: content[:60],
    lambda content: b'',
    lambda content: content.replace(b'<f4', b'<i4'),
    lambda content: content.replace(b'(4, 4', b'(4, 0'),
    lambda content: content.replace(b'(4, 4', b'(9, 4'),
    lambda content: content.replace(b'False', b'True '),
    lambda content: b'PK' + content,
  ],
)
def test_arrays_that_are_damaged(damage, tmp_path):
  making.write_precomp(tmp_path, making.pictures())
  path = tmp_path / 'train_ims.npy'
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(UserError, match='train_ims.npy must be an array of'):
    opening.open_store(str(tmp_path))


def test_a_pickled_array_is_refused(tmp_path):
  making.write_precomp(tmp_path, making.pictures())
  np.save(tmp_path / 'train_ims.npy', np.array([{}] * 4, object))
  with pytest.raises(UserError, match='must be an array of floats'):
    opening.open_store(str(tmp_path))


def test_rows_are_read_not_mapped(tmp_path):
  making.write_precomp(tmp_path, making.pictures())
  store = opening.open_store(str(tmp_path))
  (read,) = store.read(['1007'])
  # Pages of a map would count as this process's memory.
  with open('/proc/self/maps') as file:
    assert 'train_ims.npy' not in file.read()
  assert read.features.shape == (4, making.SIZE)
