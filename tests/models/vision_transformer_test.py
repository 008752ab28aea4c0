"""Tests that vision transformers equal those of `transformers`."""

import jax
import numpy as np
import pytest

from tagsdc_jax.conversion import vision_weights
from tagsdc_jax.models import vision_transformer
from tests.conversion import vision_models

_TOLERANCE = 1e-4


@pytest.mark.parametrize('kind', vision_models.KINDS)
def test_tokens_equal_those_of_transformers(kind, tmp_path):
  model = vision_models.save(kind, tmp_path)
  encoder = vision_weights.load(str(tmp_path))
  network = vision_transformer.VisionTransformer(encoder.config)
  apply = jax.jit(network.apply)
  rng = np.random.default_rng(1)
  for side in (224, 336):
    pixels = rng.normal(size=(2, side, side, 3)).astype(np.float32)
    patches, cls = apply({'params': encoder.params}, pixels)
    expected = vision_models.tokens(model, kind, pixels)
    config = encoder.config
    rows = side // config.patch_size
    assert patches.shape == (2, rows, rows, config.hidden_size)
    first = config.num_prefixes + config.num_registers
    np.testing.assert_allclose(
      np.asarray(patches).reshape(2, rows * rows, -1),
      expected[:, first:],
      rtol=0,
      atol=_TOLERANCE,
    )
    if config.num_prefixes:
      np.testing.assert_allclose(cls, expected[:, 0], rtol=0, atol=_TOLERANCE)
    else:
      assert cls is None
    assert np.abs(expected).mean() > 0.1  # Not all alike.


def test_tokens_of_pictures_that_are_not_square(tmp_path):
  model = vision_models.save('dinov2', tmp_path)
  encoder = vision_weights.load(str(tmp_path))
  pixels = np.random.default_rng(1).normal(size=(1, 56, 98, 3))
  pixels = pixels.astype(np.float32)
  network = vision_transformer.VisionTransformer(encoder.config)
  patches, _ = jax.jit(network.apply)({'params': encoder.params}, pixels)
  assert patches.shape == (1, 4, 7, 32)
  expected = vision_models.tokens(model, 'dinov2', pixels)[:, 1:]
  np.testing.assert_allclose(
    np.asarray(patches).reshape(1, 28, -1), expected, rtol=0, atol=_TOLERANCE
  )


@pytest.mark.parametrize('is_antialiased', [False, True])
@pytest.mark.parametrize('shape', [(16, 16), (24, 24), (50, 41), (1, 37)])
def test_resize_equals_that_of_torch(shape, is_antialiased):
  torch = pytest.importorskip('torch')
  table = np.random.default_rng(0).normal(size=(37, 37, 5)).astype(np.float32)
  expected = torch.nn.functional.interpolate(
    torch.from_numpy(table.transpose(2, 0, 1)[None].copy()),
    size=shape,
    mode='bicubic',
    align_corners=False,
    antialias=is_antialiased,
  )
  actual = jax.jit(vision_transformer.resize, static_argnums=(1, 2))(
    table, shape, is_antialiased
  )
  np.testing.assert_allclose(
    actual, expected[0].numpy().transpose(1, 2, 0), rtol=0, atol=5e-5
  )


def test_resize_of_the_same_shape_changes_nothing():
  table = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
  for is_antialiased in (False, True):
    assert vision_transformer.resize(table, (3, 4), is_antialiased) is table


def test_resize_of_a_constant_is_the_constant():
  # Also at the border, where part of the kernel has nothing to read.
  table = np.full((5, 5, 1), 3.0, np.float32)
  for is_antialiased in (False, True):
    resized = jax.jit(vision_transformer.resize, static_argnums=(1, 2))(
      table, (9, 3), is_antialiased
    )
    np.testing.assert_allclose(resized, np.full((9, 3, 1), 3.0), rtol=1e-6)
