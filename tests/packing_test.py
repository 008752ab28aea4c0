import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import packing

_ROWS, _CHUNK, _WIDTH = 7, 3, 4
_IS_REAL = {
    'none': [0, 0, 0, 0, 0, 0, 0],
    'all': [1, 1, 1, 1, 1, 1, 1],
    'one, the last': [0, 0, 0, 0, 0, 0, 1],
    'one chunk': [0, 1, 0, 1, 1, 0, 0],
    'ragged': [1, 0, 1, 1, 0, 1, 0],
}
_executions = []


def _function(parameters, rows):
  x, number = rows
  jax.debug.callback(lambda: _executions.append(1))
  y = jnp.tanh(x @ parameters['w'] + parameters['b'][None])
  return jnp.sum(y * y, axis=-1) * number, {'y': y, 'twice': 2 * number}


def _inputs():
  rng = np.random.default_rng(0)
  parameters = {'w': rng.normal(size=(_WIDTH, 5)).astype(np.float32),
                'b': rng.normal(size=5).astype(np.float32)}
  rows = (rng.normal(size=(_ROWS, _WIDTH)).astype(np.float32),
          np.arange(1, _ROWS + 1, dtype=np.int32))
  weights = rng.normal(size=_ROWS).astype(np.float32)
  return parameters, rows, weights


def _packed(parameters, x, number, is_real, weights):
  values, extras = packing.map_real_rows(
      _function, parameters, (x, number), is_real, _CHUNK)
  return jnp.sum(values * weights), (values, extras)


def _plain(parameters, x, number, is_real, weights):
  x = jnp.where(is_real[:, None], x, 0.0)
  y = jnp.tanh(x @ parameters['w'] + parameters['b'][None])
  values = jnp.where(is_real, jnp.sum(y * y, axis=-1) * number, 0.0)
  extras = {'y': jnp.where(is_real[:, None], y, 0.0),
            'twice': jnp.where(is_real, 2 * number, 0)}
  return jnp.sum(values * weights), (values, extras)


@functools.cache
def _program(function):
  return jax.jit(jax.value_and_grad(function, argnums=(0, 1), has_aux=True))


def _compare(actual, expected):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-5, atol=1e-6), actual, expected)


@pytest.mark.parametrize('case', _IS_REAL)
def test_map_real_rows_equals_the_masked_computation(case):
  parameters, (x, number), weights = _inputs()
  is_real = np.array(_IS_REAL[case], bool)
  arguments = (parameters, x, number, is_real, weights)
  _executions.clear()
  actual = jax.block_until_ready(_program(_packed)(*arguments))
  jax.effects_barrier()
  # ceil(real / chunk) forwards, and as many again for the gradient.
  assert len(_executions) == 2 * -(-is_real.sum() // _CHUNK)
  _compare(actual, _program(_plain)(*arguments))


@pytest.mark.parametrize('case', ['none', 'one, the last', 'ragged'])
def test_unreal_rows_may_hold_anything(case):
  parameters, (x, number), weights = _inputs()
  is_real = np.array(_IS_REAL[case], bool)
  spoilt = np.where(is_real[:, None], x, np.nan).astype(np.float32)
  _compare(_program(_packed)(parameters, spoilt, number, is_real, weights),
           _program(_plain)(parameters, x, number, is_real, weights))


def test_real_first():
  is_real = np.array([False, True, False, True, True])
  for function in (packing.real_first,
                   jax.jit(packing.real_first, static_argnums=1)):
    # Real rows in order, then the others, then filling that is no row.
    np.testing.assert_array_equal(function(jnp.asarray(is_real), 4),
                                  [1, 3, 4, 0, 2, 5, 5, 5])
    np.testing.assert_array_equal(function(jnp.asarray(is_real), 5),
                                  [1, 3, 4, 0, 2])


def test_put_back():
  packed = {'a': jnp.array([10.0, 20.0, 30.0, 40.0]),
            'b': jnp.arange(8).reshape(4, 2)}
  result = packing.put_back(packed, jnp.array([2, 0, 3, 3]), 3)
  np.testing.assert_array_equal(result['a'], [20.0, 0.0, 10.0])
  np.testing.assert_array_equal(result['b'], [[2, 3], [0, 0], [0, 1]])
