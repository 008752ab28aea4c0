"""Tests of folders of photos as stores of regions."""

import pickle

import numpy as np
import pytest
from PIL import Image

from tagsdc_jax import errors
from tagsdc_jax.preparing.photos import opening, store
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.conversion import vision_folders


def write_photos(folder, sizes, seed=0):
  """Writes photos of noise with the given (width, height), a0.png and so on."""
  rng = np.random.default_rng(seed)
  folder.mkdir(exist_ok=True)
  for number, (width, height) in enumerate(sizes):
    pixels = rng.integers(256, size=(height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / f'a{number}.png')
  return str(folder)


_SIZES = [(30, 20), (24, 24), (7, 50), (100, 64), (1, 1), (33, 31), (90, 12)]


@pytest.fixture(scope='module')
def places(tmp_path_factory):
  """Returns the folders of photos and of a vision transformer."""
  root = tmp_path_factory.mktemp('photos')
  return (
    write_photos(root / 'photos', _SIZES),
    vision_folders.write(root / 'encoder'),
  )


def _same(one, other):
  assert one.width == other.width and one.height == other.height
  np.testing.assert_array_equal(one.boxes, other.boxes)
  np.testing.assert_array_equal(one.features, other.features)


def test_grid(places):
  photos, encoder = places
  found = store.open_photos(photos, 'grid', encoder=encoder)
  assert found.path == photos
  assert found.kind == 'photos, grid'
  assert found.names == tuple(f'a{number}.png' for number in range(7))
  assert [x.rsplit('/', 1)[1] for x in found.sources] == [
    'config.json',
    'preprocessor_config.json',
    'model.safetensors',
  ]
  regions = found.read(found.names)
  for size, of_photo in zip(_SIZES, regions):
    assert isinstance(of_photo, StoredRegions)
    assert (of_photo.width, of_photo.height) == size
    assert of_photo.features.shape == (37, vision_folders.HIDDEN)
    assert of_photo.features.dtype == np.float32
    assert np.isfinite(of_photo.features).all()
    assert of_photo.boxes.shape == (37, 4)
    assert of_photo.boxes[0].tolist() == [0, 0, *size]
    assert of_photo.confidence is None and of_photo.labels is None
  # The whole photo is the mean of its cells.
  np.testing.assert_allclose(
    regions[0].features[0], regions[0].features[1:].mean(axis=0), atol=1e-5
  )
  # Photos differ, and so do the cells of one.
  assert np.abs(regions[0].features - regions[1].features).max() > 1e-3
  assert regions[0].features[1:].std(axis=0).min() > 1e-4


def test_a_photo_does_not_depend_on_the_others(places):
  photos, encoder = places
  found = store.open_photos(photos, 'grid', encoder=encoder)
  together = found.read(found.names)
  for name, regions in zip(found.names, together):
    (alone,) = found.read([name])
    _same(alone, regions)
  backwards = found.read(found.names[::-1])
  for one, other in zip(together, backwards[::-1]):
    _same(one, other)
  twice = found.read(['a2.png'] * 6)
  for regions in twice:
    _same(regions, together[2])


def test_a_pickled_store_reads_the_same(places):
  photos, encoder = places
  found = store.open_photos(photos, 'grid', encoder=encoder)
  copy = pickle.loads(pickle.dumps(found))
  assert copy.names == found.names and copy.sources == found.sources
  (one,), (other,) = found.read(['a3.png']), copy.read(['a3.png'])
  _same(one, other)
  # No weights in it.
  assert len(pickle.dumps(found)) < 2000


def test_photos_that_cannot_be_read_are_named(tmp_path, places):
  folder = tmp_path / 'photos'
  write_photos(folder, [(20, 20), (30, 20), (9, 9)])
  (folder / 'a1.png').write_bytes((folder / 'a0.png').read_bytes()[:300])
  (folder / 'b.jpg').touch()
  found = store.open_photos(str(folder), 'grid', encoder=places[1])
  first, broken, last, empty = found.read(found.names)
  assert isinstance(first, StoredRegions) and isinstance(last, StoredRegions)
  assert isinstance(broken, Unreadable) and 'a1.png cannot be' in broken.reason
  assert isinstance(empty, Unreadable) and 'b.jpg' in empty.reason
  # A photo that was removed meanwhile.
  (folder / 'a0.png').unlink()
  (gone,) = found.read(['a0.png'])
  assert isinstance(gone, Unreadable) and 'No such file' in gone.reason
  assert found.read([]) == []


def test_another_input_size(places):
  photos, encoder = places
  small = store.open_photos(photos, 'grid', encoder=encoder)
  large = store.open_photos(photos, 'grid', encoder=encoder, size=48)
  one, other = small.read(['a3.png'])[0], large.read(['a3.png'])[0]
  np.testing.assert_array_equal(one.boxes, other.boxes)
  assert np.abs(one.features - other.features).max() > 1e-3
  with pytest.raises(errors.UserError, match='multiple of the patch size 4'):
    store.open_photos(photos, 'grid', encoder=encoder, size=50)


def test_photos_in_folders_and_turned(tmp_path, places):
  photos = tmp_path / 'photos'
  (photos / 'below').mkdir(parents=True)
  image = Image.fromarray(
    np.random.default_rng(0).integers(256, size=(20, 30, 3)).astype(np.uint8)
  )
  exif = image.getexif()
  exif[0x0112] = 6
  image.save(photos / 'below' / 'turned.png', exif=exif)
  image.rotate(-90, expand=True).save(photos / 'upright.png')
  found = store.open_photos(str(photos), 'grid', encoder=places[1])
  assert found.names == ('below/turned.png', 'upright.png')
  turned, upright = found.read(found.names)
  _same(turned, upright)
  assert (turned.width, turned.height) == (20, 30)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'extractor': 'cells'}, "grid, detector, pixels, got 'cells'"),
    ({'extractor': 'grid'}, 'grid needs the encoder.*facebook/dinov2-small'),
    (
      {'extractor': 'detector', 'encoder': 'x'},
      'needs the detector.*PekingU/rtdetr',
    ),
    (
      {'extractor': 'grid', 'encoder': 'x', 'detector': 'y'},
      'grid has no use for the detector y; leave it out',
    ),
    ({'extractor': 'pixels', 'encoder': 'x'}, 'no use for the encoder x'),
    ({'extractor': 'pixels', 'size': 8}, 'pixels has no input size, got 8'),
  ],
)
def test_options_that_do_not_fit(options, message, places):
  with pytest.raises(errors.UserError, match=message):
    store.open_photos(places[0], **options)


def test_folders_are_checked_before_the_weights(tmp_path):
  with pytest.raises(errors.UserError, match='has no photos'):
    store.open_photos(str(tmp_path), 'grid', encoder='missing/model')


def test_memory_holds_few_photos_at_a_time(places, monkeypatch):
  found = store.open_photos(places[0], 'pixels')
  opened, most = [], 0
  open_photo = opening.open_photo

  def counting(path, *args, **options):
    opened.append(path)
    return open_photo(path, *args, **options)

  monkeypatch.setattr(opening, 'open_photo', counting)
  finish = found._extractor.finish
  finished = 0

  def finishing(started):
    nonlocal most, finished
    most = max(most, len(opened) - finished)
    finished += len(started)
    return finish(started)

  monkeypatch.setattr(found._extractor, 'finish', finishing)
  found.read([found.names[0]] * 200)
  assert finished == 200
  assert most < 50
