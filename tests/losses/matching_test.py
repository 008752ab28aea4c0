import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax.losses import matching


def test_matching_loss_by_hand():
  # Logits (0, ln 3): match has 3/4, no match 1/4.
  logits = np.log(np.array([[1, 3], [1, 3]], np.float32))
  loss = jax.jit(matching.matching_loss)(logits, np.array([True, False]))
  np.testing.assert_allclose(loss, [-np.log(0.75), -np.log(0.25)], rtol=1e-6)


def test_matching_loss_of_extreme_logits_and_extra_axis():
  logits = jnp.array([[[1e4, -1e4], [-1e4, 1e4]], [[0.0, 0.0], [1e4, 1e4]]])
  is_match = jnp.array([[True, True], [False, True]])
  loss = matching.matching_loss(logits, is_match)
  # Of ln 2 + 1e4 the last four digits are lost.
  np.testing.assert_allclose(
    loss, [[2e4, 0.0], [np.log(2), np.log(2)]], rtol=1e-3
  )
  gradient = jax.jit(
    jax.grad(lambda x: jnp.sum(matching.matching_loss(x, is_match)))
  )(logits)
  np.testing.assert_allclose(
    gradient, [[[1, -1], [0, 0]], [[-0.5, 0.5], [0.5, -0.5]]], atol=1e-6
  )
