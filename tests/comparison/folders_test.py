"""LMDB folders are found by what is in them, not by their names."""

import dataclasses
import json
import shutil

import pytest

from tagsdc_jax.comparison import folders, recordings
from tests.comparison import opening


@pytest.fixture(name='moved')
def _moved(tmp_path):
  """Recordings whose LMDB folders have other names."""
  for theirs, other in (
    ('txt_db/itm_toy.db', 'texts'),
    ('img_db/toy', 'pictures/a'),
  ):
    shutil.copytree(opening.FOLDER / 'lmdb' / theirs, tmp_path / 'x' / other)
  manifest = json.loads((opening.FOLDER / 'MANIFEST.json').read_text())
  manifest['files'] = {}
  manifest['other_files'] = {'x/texts': '', 'x/pictures': '', 'x/other': ''}
  (tmp_path / 'MANIFEST.json').write_text(json.dumps(manifest))
  return recordings.open_folder(tmp_path)


def test_folders_are_found(moved):
  assert folders.text_folder(moved) == moved.folder / 'x' / 'texts'
  assert [path.name for path in folders.image_stores(moved)] == [
    'feat_numbb36',
    'feat_numbb36_compressed',
    'feat_th0.2_max100_min10',
    'feat_th0.2_max100_min10_compressed',
  ]
  assert moved.used == {'x/texts', 'x/pictures'}


def test_regions_above_a_confidence_come_first(moved):
  data = folders.open_dataset(moved)
  assert len(data.captions) == 60
  # One image has 100 regions above the confidence; 36 would be the most.
  assert max(data.num_regions) == 100
  fixed = folders.open_dataset(moved, folders.image_stores(moved)[0])
  assert set(fixed.num_regions) == {36}


def test_settings_come_from_the_manifest(moved):
  entry = {
    'keys': {},
    'settings': {'conf_th': 0.4, 'max_bb': 50, 'min_bb': 7, 'num_bb': 12},
  }
  changed = dataclasses.replace(
    moved, manifest=moved.manifest | {'files': {folders.EXPECTED: entry}}
  )
  stores = folders.image_stores(changed)
  assert folders.choice(changed, stores[2]) == {
    'conf_threshold': 0.4,
    'max_boxes': 50,
    'min_boxes': 7,
  }
  assert folders.choice(changed, stores[0]) == {
    'conf_threshold': -1,
    'num_boxes': 12,
  }


def test_no_folders_at_all(tmp_path):
  empty = recordings.Recordings(tmp_path, {'files': {}})
  with pytest.raises(recordings.Missing, match='LMDB folder of captions'):
    folders.text_folder(empty)
  with pytest.raises(recordings.Missing, match='LMDB folder of regions'):
    folders.image_stores(empty)
