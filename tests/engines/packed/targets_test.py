import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.engines.packed import targets

_ROWS, _CHUNK, _WIDTH = 7, 3, 4
_IS_REAL = {
  'none': [0, 0, 0, 0, 0, 0, 0],
  'all': [1, 1, 1, 1, 1, 1, 1],
  'one, the last': [0, 0, 0, 0, 0, 0, 1],
  'one chunk': [0, 1, 0, 1, 1, 0, 0],
  'ragged': [1, 0, 1, 1, 0, 1, 0],
}
_executions = []


def _function(parameters, x, constants):
  number, weights = constants
  jax.debug.callback(lambda: _executions.append(1))
  y = jnp.tanh(x @ parameters['w'] + parameters['b'][None])
  lost = weights * number * jnp.sum(y * y, axis=-1)
  return jnp.sum(lost), {'y': y, 'twice': 2 * number}


def _inputs():
  rng = np.random.default_rng(0)
  parameters = {
    'w': rng.normal(size=(_WIDTH, 5)).astype(np.float32),
    'b': rng.normal(size=5).astype(np.float32),
  }
  x = rng.normal(size=(_ROWS, _WIDTH)).astype(np.float32)
  return (
    parameters,
    x,
    (
      np.arange(1, _ROWS + 1, dtype=np.int32),
      rng.normal(size=_ROWS).astype(np.float32),
    ),
  )


def _packed(parameters, x, constants, is_real):
  total, values = targets.sum_real_rows(
    _function, parameters, x, constants, is_real, _CHUNK
  )
  return 0.5 * total, values  # Not 1: the backward pass has to scale.


def _plain(parameters, x, constants, is_real):
  number, weights = constants
  x = jnp.where(is_real[:, None], x, 0.0)
  y = jnp.tanh(x @ parameters['w'] + parameters['b'][None])
  lost = jnp.where(is_real, weights * number * jnp.sum(y * y, axis=-1), 0.0)
  return 0.5 * jnp.sum(lost), {
    'y': jnp.where(is_real[:, None], y, 0.0),
    'twice': jnp.where(is_real, 2 * number, 0),
  }


@functools.cache
def _program(function):
  return jax.jit(jax.value_and_grad(function, argnums=(0, 1), has_aux=True))


def _compare(actual, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    actual,
    expected,
  )


@pytest.mark.parametrize('case', _IS_REAL)
def test_sum_real_rows_equals_the_masked_computation(case):
  is_real = np.array(_IS_REAL[case], bool)
  arguments = (*_inputs(), is_real)
  _executions.clear()
  actual = jax.block_until_ready(_program(_packed)(*arguments))
  jax.effects_barrier()
  # The gradient is computed with the losses: nothing runs twice.
  assert len(_executions) == -(-is_real.sum() // _CHUNK)
  expected = _program(_plain)(*arguments)
  _compare(actual, expected)
  _compare(jax.jit(_packed)(*arguments), expected[0])


def test_values_have_no_gradient():
  def read(parameters):
    _, x, constants = _inputs()
    values = _packed(parameters, x, constants, np.ones(_ROWS, bool))[1]
    return jnp.sum(values['y'])

  assert not any(
    np.any(g) for g in jax.tree.leaves(jax.grad(read)(_inputs()[0]))
  )


@pytest.mark.parametrize('case', ['none', 'one, the last', 'ragged'])
def test_unreal_rows_may_hold_anything(case):
  parameters, x, (number, weights) = _inputs()
  is_real = np.array(_IS_REAL[case], bool)
  spoil = lambda values, rows: np.where(rows, values, np.nan).astype(np.float32)
  _compare(
    _program(_packed)(
      parameters,
      spoil(x, is_real[:, None]),
      (number, spoil(weights, is_real)),
      is_real,
    ),
    _program(_plain)(parameters, x, (number, weights), is_real),
  )


def test_real_first():
  is_real = np.array([False, True, False, True, True])
  for function in (
    targets.real_first,
    jax.jit(targets.real_first, static_argnums=1),
  ):
    # Real rows in order, then the others, then filling that is no row.
    np.testing.assert_array_equal(
      function(jnp.asarray(is_real), 4), [1, 3, 4, 0, 2, 5, 5, 5]
    )
    np.testing.assert_array_equal(
      function(jnp.asarray(is_real), 5), [1, 3, 4, 0, 2]
    )


def test_put_back():
  packed = {
    'a': jnp.array([10.0, 20.0, 30.0, 40.0]),
    'b': jnp.arange(8).reshape(4, 2),
  }
  result = targets.put_back(packed, jnp.array([2, 0, 3, 3]), 3)
  np.testing.assert_array_equal(result['a'], [20.0, 0.0, 10.0])
  np.testing.assert_array_equal(result['b'], [[2, 3], [0, 0], [0, 1]])
