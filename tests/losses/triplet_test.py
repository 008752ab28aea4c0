import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax.losses import triplet, words


def test_triplet_loss_by_hand():
  # max(0, 0.2 + n - p): 0.2 + 0.6 - 0.7 = 0.1; 0.2 + 0.5 - 0.7 = 0, at the
  # kink; 0.2 + 0.1 - 0.7 < 0; second row: 0.2 + 0.9 - 0.3 = 0.8, and so on.
  loss = triplet.triplet_loss(
    jnp.array([[0.7], [0.3]]),
    jnp.array([[0.6, 0.5, 0.1], [0.9, 0.3, 0.0]]),
    margin=0.2,
  )
  np.testing.assert_allclose(
    loss, [[0.1, 0.0, 0.0], [0.8, 0.2, 0.0]], atol=1e-6
  )


def test_triplet_loss_with_extra_axis_and_jit():
  rng = np.random.default_rng(0)
  positive = jnp.asarray(rng.random((2, 3), np.float32))
  negative = jnp.asarray(rng.random((2, 3, 4), np.float32))
  loss = triplet.triplet_loss(positive[..., None], negative, margin=0.2)
  assert loss.shape == (2, 3, 4)
  np.testing.assert_array_equal(
    loss[1], triplet.triplet_loss(positive[1, :, None], negative[1], margin=0.2)
  )
  jitted = jax.jit(
    lambda p, n: triplet.triplet_loss(p[..., None], n, margin=0.2)
  )
  np.testing.assert_allclose(jitted(positive, negative), loss, atol=1e-7)


def test_triplet_loss_of_extreme_logits():
  def mean_loss(logits, where):
    probs = jax.nn.sigmoid(logits)
    loss = triplet.triplet_loss(probs[None, :1], probs[None, 1:], margin=0.2)
    return jnp.sum(words.masked_mean(loss, where, 1))

  logits = jnp.array([-1e4, 1e4, -1e4, 0.0])
  where = jnp.ones((1, 3), bool)
  program = jax.jit(jax.value_and_grad(mean_loss))
  value, gradient = program(logits, where)
  # s = 0, 1, 0, 0.5: (1.2 + 0.2 + 0.7) / 3.
  np.testing.assert_allclose(value, 0.7, atol=1e-6)
  # Only sigmoid'(0) = 0.25 is not 0.
  np.testing.assert_allclose(gradient, [0, 0, 0, 0.25 / 3], atol=1e-6)
  value, gradient = program(logits, ~where)
  assert value == 0 and not np.any(gradient)
