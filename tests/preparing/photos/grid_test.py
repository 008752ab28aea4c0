"""Tests that features of cells equal means of tokens of `transformers`."""

import numpy as np
import pytest
from PIL import Image

from tagsdc_jax.preparing.photos import store
from tests.conversion import vision_models


@pytest.mark.parametrize(
  ('kind', 'side'), [('vit', 224), ('dinov2', 336), ('siglip', 224)]
)
def test_features_equal_those_of_transformers(kind, side, tmp_path):
  """From the file to the features, with the image processor as well."""
  transformers = pytest.importorskip('transformers')
  model = vision_models.save(kind, tmp_path / 'model')
  name = 'SiglipImageProcessor' if kind == 'siglip' else 'ViTImageProcessor'
  processor = getattr(transformers, f'{name}Pil', getattr(transformers, name))(
    size={'height': side, 'width': side},
    image_mean=[0.48, 0.46, 0.41],
    image_std=[0.23, 0.22, 0.2],
    resample=3,
  )
  processor.save_pretrained(tmp_path / 'model')
  # Upscaled noise: detail that any other filter would change.
  pixels = np.random.default_rng(0).integers(256, size=(50, 80, 3))
  photo = Image.fromarray(pixels.astype(np.uint8)).resize((640, 400))
  (tmp_path / 'photos').mkdir()
  photo.save(tmp_path / 'photos' / 'a.png')
  found = store.open_photos(
    str(tmp_path / 'photos'), 'grid', encoder=str(tmp_path / 'model')
  )
  (regions,) = found.read(found.names)
  inputs = processor(photo, return_tensors='np')['pixel_values']
  tokens = vision_models.tokens(model, kind, inputs.transpose(0, 2, 3, 1))[0]
  rows = side // model.config.patch_size
  patches = tokens[-rows * rows :].reshape(rows, rows, -1)
  np.testing.assert_allclose(
    regions.features[0], patches.mean(axis=(0, 1)), rtol=0, atol=1e-4
  )
  # Cells, by way of a grid that both patches and cells divide.
  fine = patches.repeat(6, axis=0).repeat(6, axis=1)
  cells = fine.reshape(6, rows, 6, rows, -1).mean(axis=(1, 3))
  np.testing.assert_allclose(
    regions.features[1:], cells.reshape(36, -1), rtol=0, atol=1e-4
  )
