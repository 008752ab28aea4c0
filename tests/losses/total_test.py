import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.losses import combining

_CONFIG = settings.Losses(synthetic=0.5, mlm=0.25, discrimination=2.0,
                          correction=4.0)


def test_combine_losses_by_hand():
  parts = {
      'text_to_image': jnp.array([1.0, 3.0]),  # Mean 2, weight 1.
      'image_to_text': jnp.array([0.0, 1.0]),  # Mean 0.5, weight 1.
      'synthetic': jnp.array([2.0, 2.0]),  # 2 x 0.5
      'mlm': jnp.array([8.0, 0.0]),  # 4 x 0.25
      'discrimination': jnp.array([0.1, 0.3]),  # 0.2 x 2
      'correction': jnp.array([1.0, 2.0]),  # 1.5 x 4
  }
  # 2 + 0.5 + 1 + 1 + 0.4 + 6
  np.testing.assert_allclose(combining.combine_losses(parts, _CONFIG), 10.9,
                             rtol=1e-6)
  np.testing.assert_allclose(
      jax.jit(lambda p: combining.combine_losses(p, _CONFIG))(parts), 10.9,
      rtol=1e-6)


def test_combine_losses_of_pretraining():
  parts = {'matching': jnp.array([3.0]), 'mlm': jnp.array([4.0])}
  # 3 + 4 x 0.25
  np.testing.assert_allclose(combining.combine_losses(parts, _CONFIG), 4.0)


def test_gradient_is_weight_over_batch():
  def total(loss):
    return combining.combine_losses({'mlm': loss}, _CONFIG)
  np.testing.assert_allclose(jax.grad(total)(jnp.zeros(4)), [0.0625] * 4)


def test_no_part_and_unknown_part():
  assert combining.combine_losses({}, _CONFIG) == 0
  with pytest.raises(KeyError):
    combining.combine_losses({'other': jnp.ones(1)}, _CONFIG)
