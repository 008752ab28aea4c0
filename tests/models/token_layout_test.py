"""Rows of one of several buckets: the same as each row by itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.models import token_layout as layouts

_BUCKETS, _TOKENS = (2, 3, 5), 7


def _layout(choice, buckets=_BUCKETS):
  return layouts.of_bucket(buckets, jnp.int32(choice), _TOKENS)


def test_places_by_hand():
  layout = _layout(1)
  assert layout.rows.tolist() == [0, 0, 0, 1, 1, 1, 2]
  assert layout.places.tolist() == [0, 1, 2, 0, 1, 2, 0]
  assert layout.max_rows == 3 and layout.num_rows == 2


def test_a_rectangle_has_no_tokens_left():
  layout = layouts.rectangle(2, 3)
  assert layout.rows.tolist() == [0, 0, 0, 1, 1, 1]
  assert layout.max_rows == 2 and layout.num_rows == 2


@pytest.mark.parametrize(
  'buckets, choice', [(_BUCKETS, 0), (_BUCKETS, 1), (_BUCKETS, 2), ((3,), 0)]
)
def test_leading(buckets, choice):
  layout, length = _layout(choice, buckets), buckets[choice]
  x = jnp.arange(10 * _TOKENS).reshape(_TOKENS, 10)
  leading = layout.leading(x, 2)
  assert leading.shape == (layout.max_rows, 2, 10)
  for row in range(int(layout.num_rows)):
    np.testing.assert_array_equal(
      leading[row], x[row * length : row * length + 2]
    )


def _cumulated(length, floats, scale):
  """Mixes the tokens of a row; what is kept differs between buckets."""
  x, y = floats
  rows = len(x) // length
  own = x[: rows * length].reshape(rows, length)
  sums = jnp.cumsum(jnp.square(own), axis=1) * scale
  return (
    jnp.pad(sums.reshape(-1), (0, len(x) - rows * length)),
    jnp.pad(jnp.prod(own, 1) * y[:rows], (0, len(y) - rows)),
  )


@functools.cache
def _program():
  def run(x, y, choice):
    layout = layouts.of_bucket(_BUCKETS, choice, _TOKENS)

    def loss(x, y):
      of_tokens, of_rows = layout.by_row(_cumulated, (x, y), jnp.float32(2))
      return (jnp.sum(jnp.arange(_TOKENS) * of_tokens) + jnp.sum(of_rows)), (
        of_tokens,
        of_rows,
      )

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(x, y)

  return jax.jit(run)


@pytest.mark.parametrize('choice', range(3))
def test_by_row_runs_the_bucket_that_is_chosen(choice):
  rng = np.random.default_rng(choice)
  x, y = (rng.normal(size=n).astype(np.float32) for n in (_TOKENS, 3))

  def direct(floats):
    of_tokens, of_rows = _cumulated(_BUCKETS[choice], floats, 2.0)
    return jnp.sum(jnp.arange(_TOKENS) * of_tokens) + jnp.sum(of_rows)

  (total, found), grads = _program()(x, y, choice)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-6),
    found,
    _cumulated(_BUCKETS[choice], (x, y), 2.0),
  )
  expected, of_inputs = jax.value_and_grad(direct)((x, y))
  np.testing.assert_allclose(total, expected, rtol=1e-6)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5), grads, of_inputs
  )
  # What is left of the tokens takes part in nothing.
  left = _TOKENS % _BUCKETS[choice]
  assert not np.any(np.asarray(grads[0])[_TOKENS - left :])
  assert np.all(np.asarray(grads[0])[: _TOKENS - left])
