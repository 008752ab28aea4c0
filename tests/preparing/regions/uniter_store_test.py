"""UNITER's LMDB: all its images, by its rule, the same bits."""

import json
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest

from tagsdc_jax.data import lmdb_images
from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import conventions, converting, opening
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making

_TOY = Path(__file__).parents[2] / 'golden' / 'recordings' / 'lmdb' / 'img_db'
_STORE = 'feat_th0.2_max100_min10'


@pytest.mark.parametrize('kind', ['', '_compressed'])
def test_prepared_regions_are_the_same_bits(kind):
  folder = _TOY / 'toy' / (_STORE + kind)
  store = opening.open_store(str(folder))
  convention = conventions.find(store)
  assert convention.as_stored
  names = list(store.names)
  plain = lmdb_images.ImageStore(
    folder, tuple(names), lmdb_images.BoxSettings()
  )
  assert len(names) > 1
  for image, name in enumerate(names):
    prepared, tally = converting.convert(
      store.read([name])[0], convention, name, 100
    )
    expected = plain.read(image)
    assert prepared.features.tobytes() == expected.features.tobytes()
    assert prepared.boxes.tobytes() == expected.boxes[:, :6].tobytes()
    assert tally == converting.Tally(1, len(prepared.boxes))


def test_the_folder_above_is_enough_where_there_is_one_store(tmp_path):
  shutil.copytree(_TOY / 'toy' / _STORE, tmp_path / 'img_db' / 'toy' / _STORE)
  store = opening.open_store(str(tmp_path / 'img_db'))
  assert store.kind == 'UNITER LMDB'
  assert '__keys__' not in store.names


def test_a_damaged_record_is_one_picture(tmp_path):
  made = making.pictures()
  place = making.write_uniter_lmdb(tmp_path, made)
  with lmdb.open(str(place), map_size=1 << 24, lock=False) as environment:
    with environment.begin(write=True) as transaction:
      value = transaction.get(b'1000.npz')
      transaction.put(b'1000.npz', value[:-20])
  store = opening.open_store(str(place))
  assert sorted(store.names) == sorted(f'{name}.npz' for name in made)
  first, second = store.read(['1000.npz', '1007.npz'])
  assert isinstance(first, Unreadable)
  assert '1000.npz' in first.reason and str(place) in first.reason
  assert isinstance(second, StoredRegions)


def test_the_number_of_regions_is_as_the_list_beside_it_says(tmp_path):
  place = making.write_uniter_lmdb(tmp_path, making.pictures())
  counts = {f'{name}.npz': 2 for name in making.pictures()}
  (tmp_path / 'nbb_th0.2_max100_min10.json').write_text(json.dumps(counts))
  (read,) = opening.open_store(str(place)).read(['1007.npz'])
  assert len(read.features) == len(read.boxes) == len(read.confidence) == 2


def test_a_truncated_file(tmp_path):
  place = making.write_uniter_lmdb(tmp_path, making.pictures())
  content = (place / 'data.mdb').read_bytes()
  (place / 'data.mdb').write_bytes(content[: len(content) // 2])
  with pytest.raises(UserError, match='truncated'):
    opening.open_store(str(place))


def test_no_image(tmp_path):
  place = making.write_uniter_lmdb(tmp_path, {})
  with pytest.raises(UserError, match='must contain regions of pictures'):
    opening.open_store(str(place))


def test_float32_features_stay_what_they_are(tmp_path):
  made = making.pictures()
  place = tmp_path / 'all'
  place.mkdir()
  import msgpack_numpy

  with lmdb.open(str(place), map_size=1 << 24, lock=False) as environment:
    with environment.begin(write=True) as transaction:
      for name, item in made.items():
        record = making.uniter_record(item) | {'features': item.features}
        transaction.put(name.encode(), msgpack_numpy.packb(record))
  (read,) = opening.open_store(str(place)).read(['1007'])
  np.testing.assert_array_equal(read.features, made['1007'].features)
  assert read.features.dtype == np.float32
