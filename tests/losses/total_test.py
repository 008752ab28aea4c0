import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.losses import total

_WEIGHTS = {'images': 1.0, 'texts': 0.5, 'mlm': 0.25, 'matching': 1.0}


def test_weighted_sum_by_hand():
  losses = {
    'images': jnp.array([1.0, 3.0]),  # Mean 2, weight 1.
    'texts': jnp.array([2.0, 2.0]),  # 2 x 0.5
    'mlm': jnp.array([8.0, 0.0]),  # 4 x 0.25
  }
  np.testing.assert_allclose(total.weighted_sum(losses, _WEIGHTS), 4, rtol=1e-6)
  np.testing.assert_allclose(
    jax.jit(lambda x: total.weighted_sum(x, _WEIGHTS))(losses), 4, rtol=1e-6
  )


def test_a_mean_may_stand_for_its_losses():
  losses = {'matching': jnp.array([3.0]), 'mlm': jnp.float32(4.0)}
  # 3 + 4 x 0.25
  np.testing.assert_allclose(total.weighted_sum(losses, _WEIGHTS), 4.0)


def test_gradient_is_weight_over_batch():
  def mlm(loss):
    return total.weighted_sum({'mlm': loss}, _WEIGHTS)

  np.testing.assert_allclose(jax.grad(mlm)(jnp.zeros(4)), [0.0625] * 4)


def test_no_loss_and_unknown_loss():
  assert total.weighted_sum({}, _WEIGHTS) == 0
  with pytest.raises(KeyError):
    total.weighted_sum({'other': jnp.ones(1)}, _WEIGHTS)
