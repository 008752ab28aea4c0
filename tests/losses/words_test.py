import functools

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax.losses import words

_WEIGHTS = {'replaced_weight': 1.0, 'kept_weight': 0.11}


def test_word_loss_by_hand():
  # exp(logits) = 1, 2, 5 of 8.
  logits = np.log(np.array([[1, 2, 5], [1, 2, 5]], np.float32))
  program = jax.jit(words.word_loss)
  loss = program(logits, np.array([0, 2]))
  np.testing.assert_allclose(loss, [np.log(8), np.log(8 / 5)], rtol=1e-6)
  # Adding the same to all logits changes nothing.
  np.testing.assert_allclose(
    program(logits + 7, np.array([0, 2])), loss, rtol=1e-5
  )


def test_word_loss_is_float32_for_bfloat16_logits():
  logits = jnp.zeros((2, 300), jnp.bfloat16)
  loss = words.word_loss(logits, jnp.array([5, 299]))
  assert loss.dtype == jnp.float32
  np.testing.assert_allclose(loss, np.log(300), rtol=1e-6)


def test_word_loss_of_extreme_logits_and_extra_axis():
  logits = jnp.array([[[1e4, -1e4, 0.0]], [[-1e4, -1e4, -1e4]]])
  labels = jnp.array([[1], [0]])
  total = lambda x: jnp.sum(words.word_loss(x, labels))
  loss = words.word_loss(logits, labels)
  assert loss.shape == (2, 1)
  # Of ln 3 + 1e4 the last four digits are lost.
  np.testing.assert_allclose(loss, [[2e4], [np.log(3)]], rtol=1e-3)
  # softmax minus one-hot.
  np.testing.assert_allclose(
    jax.jit(jax.grad(total))(logits),
    [[[1, -1, 0]], [[-2 / 3, 1 / 3, 1 / 3]]],
    atol=1e-6,
  )
  np.testing.assert_allclose(
    jax.jit(words.word_loss)(logits, labels), loss, rtol=1e-6
  )


def test_discrimination_loss_by_hand():
  # exp(logits): replaced 1/4, same 3/4.
  logits = np.log(np.array([[1, 3], [1, 3]], np.float32))
  loss = words.discrimination_loss(logits, jnp.array([True, False]), **_WEIGHTS)
  np.testing.assert_allclose(
    loss, [0.11 * np.log(4 / 3), 1.0 * np.log(4)], rtol=1e-6
  )
  # The mean is over tokens, not over weights: divided by 2, not by 1.11.
  mean = words.masked_mean(loss, jnp.ones(2, bool), 0)
  np.testing.assert_allclose(
    mean, (0.11 * np.log(4 / 3) + np.log(4)) / 2, rtol=1e-6
  )


def test_discrimination_loss_of_extreme_logits_and_extra_axis():
  logits = jnp.array([[[1e4, -1e4]], [[-1e4, 1e4]]])
  is_same = jnp.array([[True], [True]])
  loss_of = functools.partial(
    words.discrimination_loss, is_same=is_same, **_WEIGHTS
  )
  np.testing.assert_allclose(loss_of(logits), [[0.11 * 2e4], [0]], rtol=1e-6)
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(loss_of(x))))(logits)
  np.testing.assert_allclose(gradient, [[[0.11, -0.11]], [[0, 0]]], atol=1e-6)
  np.testing.assert_allclose(
    jax.jit(loss_of)(logits), loss_of(logits), rtol=1e-6
  )


def test_masked_mean_by_hand():
  values = jnp.array([[1.0, 2.0, 9.0], [4.0, 5.0, 6.0]])
  where = jnp.array([[True, True, False], [False, False, True]])
  np.testing.assert_allclose(words.masked_mean(values, where, 1), [1.5, 6.0])
  np.testing.assert_allclose(words.masked_mean(values, where, (0, 1)), 3.0)
  # One mask for both rows: (1 + 4) / 2 over the first column.
  np.testing.assert_allclose(
    words.masked_mean(values, jnp.array([[True, False, False]]), (0, 1)), 2.5
  )


def test_masked_mean_where_nothing_counts():
  values = jnp.array([[np.nan, np.inf], [1.0, np.nan]])
  where = jnp.array([[False, False], [True, False]])
  mean = lambda x: words.masked_mean(x, where, 1)
  np.testing.assert_array_equal(mean(values), [0.0, 1.0])
  np.testing.assert_array_equal(jax.jit(mean)(values), [0.0, 1.0])
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(mean(x))))(values)
  np.testing.assert_array_equal(gradient, [[0.0, 0.0], [1.0, 0.0]])
  nothing = jnp.zeros((2, 2), bool)
  assert words.masked_mean(values, nothing, (0, 1)) == 0
  assert not np.any(
    jax.jit(jax.grad(lambda x: words.masked_mean(x, nothing, (0, 1))))(values)
  )
