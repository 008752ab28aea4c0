"""Regions of a photo are those that preparing its data set has stored."""

import dataclasses
import shutil

import numpy as np
import pytest

from tagsdc_jax import errors, main, settings
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.data.world import grammar
from tagsdc_jax.preparing.photos import store
from tagsdc_jax.preparing.regions import conventions
from tagsdc_jax.preparing.regions.store import Unreadable
from tagsdc_jax.runs import photo_regions
from tests.conversion import vision_folders
from tests.preparing.photos.store_test import write_photos


def prepare(folder, *flags):
  """Prepares six photos, two of each split, in folder/set."""
  photos = folder / 'photos'
  write_photos(
    photos, [(40, 30), (30, 40), (64, 64), (9, 70), (50, 50), (8, 8)]
  )
  rows = [
    f'a{i}.png,a red circle,{split}'
    for i, split in enumerate(['train', 'validation', 'test'] * 2)
  ]
  (folder / 'captions.csv').write_text(
    '\n'.join(['image,caption,split', *rows])
  )
  (folder / 'vocab.txt').write_text('\n'.join(grammar.WORDS))
  out = folder / 'set'
  words = ['prepare', out, '--captions', folder / 'captions.csv']
  words += ['--vocabulary', folder / 'vocab.txt', '--phrases', 'words']
  assert main.main([*map(str, words), *map(str, flags)]) == 0
  return settings.Data(source='prepared', root=str(out))


@pytest.fixture(scope='module', name='grid')
def _grid(tmp_path_factory):
  folder = tmp_path_factory.mktemp('grid')
  encoder = vision_folders.write(folder / 'encoder')
  flags = ('--images', folder / 'photos', '--encoder', encoder)
  return folder, prepare(folder, *flags, '--max-regions', 30)


def test_photos_have_the_regions_of_the_data_set(grid):
  folder, config = grid
  reader = photo_regions.PhotoReader(config)
  data = prepared.load_prepared(config.root, 'test')
  assert data.image_ids == ['a2.png', 'a5.png'] and reader.max_regions == 30
  found = reader.read([folder / 'photos' / name for name in data.image_ids])
  for image, regions in enumerate(found):
    stored = data.read_regions(image)
    assert regions.features.shape == (30, vision_folders.HIDDEN)
    np.testing.assert_array_equal(regions.features, stored.features)
    np.testing.assert_array_equal(regions.boxes, stored.boxes)
    assert regions.features.dtype == stored.features.dtype


def test_photos_stand_beside_the_images(grid):
  folder, config = grid
  data = prepared.load_prepared(config.root, 'test')
  own = dataclasses.replace(data, num_regions=np.array([3, 5]))
  reader = photo_regions.PhotoReader(config)
  with_photos = photo_regions.WithPhotos(own, reader)
  assert max(with_photos.data.num_regions) == 30
  broken = folder / 'broken.png'
  broken.write_bytes(b'x')
  first = [folder / 'photos' / 'a0.png', broken, folder / 'photos' / 'a5.png']
  one, failed, two = with_photos.hold(first)
  assert (one, two) == (2, 4) and isinstance(failed, Unreadable)
  assert 'broken.png cannot be read as a photo' in failed.reason
  read = with_photos.data.read_regions
  np.testing.assert_array_equal(read(4).features, data.read_regions(1).features)
  np.testing.assert_array_equal(read(0).features, data.read_regions(0).features)
  # The next ones take their numbers.
  assert with_photos.hold(first[2:]) == [2]
  np.testing.assert_array_equal(read(2).features, data.read_regions(1).features)


def test_extractors_write_boxes_as_they_say(tmp_path):
  photos = write_photos(tmp_path / 'photos', [(40, 30), (30, 40)])
  found = conventions.find(store.open_photos(photos, 'pixels'))
  says = store.convention_of(store.make_extractor('pixels'), found.feature_size)
  assert dataclasses.replace(found, num_sampled=0) == says


def test_an_encoder_that_was_moved_or_changed(grid, tmp_path):
  folder, config = grid
  encoder, moved = folder / 'encoder', tmp_path / 'moved'
  shutil.move(encoder, moved)
  try:
    with pytest.raises(errors.UserError) as caught:
      photo_regions.PhotoReader(config)
    line = str(caught.value)
    assert f'{config.root} was prepared with extractor grid' in line
    assert f'{encoder} is missing' in line and 'pass --encoder' in line
    assert '\n' not in line
    photo_regions.PhotoReader(config, str(moved))
    other = vision_folders.write(
      tmp_path / 'other', vision_folders.vit_weights(seed=1)
    )
    with pytest.raises(errors.UserError, match='other weights of .*encoder'):
      photo_regions.PhotoReader(config, other)
  finally:
    shutil.move(moved, encoder)


def test_data_that_was_not_made_from_photos(grid, tmp_path):
  with pytest.raises(errors.UserError, match='data.source=world does not say'):
    photo_regions.PhotoReader(settings.Data(source='world'))
  _, config = grid
  words = ['prepare', str(tmp_path / 'copy'), '--config', 'own_small_tags']
  words += [
    '--config.data.source=prepared',
    f'--config.data.root={config.root}',
  ]
  assert main.main(words) == 0
  copy = settings.Data(source='auto', root=str(tmp_path / 'copy'))
  with pytest.raises(errors.UserError) as caught:
    photo_regions.PhotoReader(copy)
  assert 'set/train (prepared)' in str(caught.value)
  assert 'not from photos' in str(caught.value)
