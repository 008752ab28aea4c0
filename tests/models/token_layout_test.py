"""Rows of one of several widths: the same as each row by itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.models import token_layout as layouts

_WIDTHS, _TOKENS = (2, 3, 5), 7


def _layout(choice, widths=_WIDTHS):
  return layouts.of_width(widths, jnp.int32(choice), _TOKENS)


def test_places_by_hand():
  layout = _layout(1)
  assert layout.rows.tolist() == [0, 0, 0, 1, 1, 1, 2]
  assert layout.places.tolist() == [0, 1, 2, 0, 1, 2, 0]
  assert layout.max_rows == 3 and layout.num_rows == 2


def test_a_rectangle_has_no_tokens_left():
  layout = layouts.rectangle(2, 3)
  assert layout.rows.tolist() == [0, 0, 0, 1, 1, 1]
  assert layout.max_rows == 2 and layout.num_rows == 2


@pytest.mark.parametrize('widths, choice', [
    (_WIDTHS, 0), (_WIDTHS, 1), (_WIDTHS, 2), ((3,), 0)])
def test_leading(widths, choice):
  layout, width = _layout(choice, widths), widths[choice]
  x = jnp.arange(10 * _TOKENS).reshape(_TOKENS, 10)
  leading = layout.leading(x, 2)
  assert leading.shape == (layout.max_rows, 2, 10)
  for row in range(int(layout.num_rows)):
    np.testing.assert_array_equal(leading[row],
                                  x[row * width:row * width + 2])


def _cumulated(width, floats, scale):
  """Mixes the tokens of a row; what is kept differs between widths."""
  x, y = floats
  rows = len(x) // width
  own = x[:rows * width].reshape(rows, width)
  sums = jnp.cumsum(jnp.square(own), axis=1) * scale
  return (jnp.pad(sums.reshape(-1), (0, len(x) - rows * width)),
          jnp.pad(jnp.prod(own, 1) * y[:rows], (0, len(y) - rows)))


@functools.cache
def _program():
  def run(x, y, choice):
    layout = layouts.of_width(_WIDTHS, choice, _TOKENS)

    def loss(x, y):
      of_tokens, of_rows = layout.by_row(_cumulated, (x, y), jnp.float32(2))
      return (jnp.sum(jnp.arange(_TOKENS) * of_tokens)
              + jnp.sum(of_rows)), (of_tokens, of_rows)
    return jax.value_and_grad(loss, (0, 1), has_aux=True)(x, y)
  return jax.jit(run)


@pytest.mark.parametrize('choice', range(3))
def test_by_row_runs_the_width_that_is_chosen(choice):
  rng = np.random.default_rng(choice)
  x, y = (rng.normal(size=n).astype(np.float32) for n in (_TOKENS, 3))

  def direct(floats):
    of_tokens, of_rows = _cumulated(_WIDTHS[choice], floats, 2.0)
    return jnp.sum(jnp.arange(_TOKENS) * of_tokens) + jnp.sum(of_rows)

  (total, found), grads = _program()(x, y, choice)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found,
               _cumulated(_WIDTHS[choice], (x, y), 2.0))
  expected, of_inputs = jax.value_and_grad(direct)((x, y))
  np.testing.assert_allclose(total, expected, rtol=1e-6)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), grads,
               of_inputs)
  # What is left of the tokens takes part in nothing.
  left = _TOKENS % _WIDTHS[choice]
  assert not np.any(np.asarray(grads[0])[_TOKENS - left:])
  assert np.all(np.asarray(grads[0])[:_TOKENS - left])
