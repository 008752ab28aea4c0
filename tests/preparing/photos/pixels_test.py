"""Tests of regions whose features are pixels."""

import numpy as np
from PIL import Image

from tagsdc_jax.data.world import pictures
from tagsdc_jax.preparing.photos import cells, pixels, store


def test_pictures_of_the_worlds_size_have_its_features(tmp_path):
  rng = np.random.default_rng(0)
  image = Image.fromarray(rng.integers(256, size=(96, 96, 3)).astype(np.uint8))
  image.save(tmp_path / 'a.png')
  found = store.open_photos(str(tmp_path), 'pixels')
  assert (found.kind, found.sources) == ('photos, pixels', ())
  (regions,) = found.read(found.names)
  boxes = cells.cell_boxes(96, 96)
  np.testing.assert_array_equal(regions.boxes, boxes)
  np.testing.assert_array_equal(
    regions.features, pictures.region_features(image, boxes)
  )
  assert regions.features.shape == (37, pictures.FEATURE_SIZE)


def test_each_cell_has_its_own_color(tmp_path):
  colors = np.random.default_rng(0).integers(256, size=(6, 6, 3))
  large = np.kron(colors, np.ones((200, 150, 1))).astype(np.uint8)
  path = tmp_path / 'a.png'
  Image.fromarray(large).save(path)
  regions = pixels.PixelExtractor().decode(path)
  assert (regions.width, regions.height) == (900, 1200)
  # The square around a box ends beyond it; its center does not.
  crop = regions.features[1:, : pictures.CROP**2 * 3].reshape(36, 8, 8, 3)
  shown = crop[:, 4, 4] * 63.0 + 78.0
  assert np.abs(shown - colors.reshape(36, 3)).max() < 3


def test_pictures_of_any_shape(tmp_path):
  for name, size in (('a', (1, 1)), ('b', (3, 2000)), ('c', (700, 5))):
    Image.new('RGB', size, 'red').save(tmp_path / f'{name}.png')
  found = store.open_photos(str(tmp_path), 'pixels')
  for regions in found.read(found.names):
    assert regions.features.shape == (37, 240)
    assert np.isfinite(regions.features).all()
    # All of it is red.
    assert np.ptp(regions.features[:, 0]) < 1e-6
