import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.models import dropout

_SHAPE = (64, 32, 48)
_COUNT = 64 * 32 * 48


@functools.cache
def _bits(seed, site):
  return np.asarray(_program()(jax.random.key(seed), site))


@functools.cache
def _program():
  return jax.jit(
    lambda key, site: dropout.random_bits(key, site, _SHAPE), static_argnums=1
  )


def _kept(bits, rate=0.5):
  return (bits >= np.uint32(rate * 2**32)).astype(np.float64).ravel()


def _correlation(a, b):
  """Returns the correlation in units of its error if independent."""
  return np.corrcoef(a, b)[0, 1] * np.sqrt(len(a))


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9])
def test_share_and_mean(rate):
  x = jnp.full(_SHAPE, 2.0)
  y = np.asarray(
    jax.jit(lambda key: dropout.dropout(x, rate, key, 0))(jax.random.key(0))
  )
  is_kept = y != 0
  # Four errors of a binomial share.
  error = np.sqrt(rate * (1 - rate) / _COUNT)
  assert abs(is_kept.mean() - (1 - rate)) < 4 * error
  np.testing.assert_allclose(y[is_kept], 2 / (1 - rate), rtol=1e-6)
  assert abs(y.mean() - 2) < 4 * 2 * error / (1 - rate)


def test_identity():
  x = jax.random.normal(jax.random.key(0), (3, 4))
  assert dropout.dropout(x, 0.5, None, 0) is x
  assert dropout.dropout(x, 0.0, jax.random.key(1), 0) is x


def test_same_key_and_site_same_bits():
  np.testing.assert_array_equal(_bits(0, 0), _program()(jax.random.key(0), 0))
  np.testing.assert_array_equal(
    _bits(0, 1), dropout.random_bits(jax.random.key(0), 1, _SHAPE)
  )


def test_keys_and_sites_are_independent():
  draws = [
    _kept(_bits(seed, site))
    for seed, site in itertools.product((0, 1, 2), (0, 1, 2))
  ]
  for a, b in itertools.combinations(draws, 2):
    assert abs(_correlation(a, b)) < 4.5


def test_split_and_folded_keys_are_independent():
  keys = [
    *jax.random.split(jax.random.key(5), 4),
    *(jax.random.fold_in(jax.random.key(6), i) for i in range(4)),
  ]
  draws = [_kept(np.asarray(_program()(key, 0)), 0.1) for key in keys]
  for a, b in itertools.combinations(draws, 2):
    assert abs(_correlation(a, b)) < 4.5


@pytest.mark.parametrize('rate', [0.1, 0.5])
def test_neighbors_are_independent(rate):
  kept = _kept(_bits(3, 1), rate).reshape(_SHAPE)
  for axis in range(3):
    for distance in (1, 2, 4, 8, 16, 31):
      size = _SHAPE[axis] - distance
      if size <= 0:
        continue
      a = np.take(kept, np.arange(size), axis)
      b = np.take(kept, np.arange(distance, _SHAPE[axis]), axis)
      assert abs(_correlation(a.ravel(), b.ravel())) < 4.5, (axis, distance)
  # No row or column is kept more often than others.
  for axes in ((0, 1), (0, 2), (1, 2)):
    shares = kept.mean(axis=axes)
    error = np.sqrt(rate * (1 - rate) * kept.shape[3 - sum(axes)] / _COUNT)
    assert np.max(np.abs(shares - (1 - rate))) < 5 * error


def test_every_bit_is_balanced():
  bits = _bits(4, 2).ravel()
  for place in range(32):
    share = np.mean((bits >> np.uint32(place)) & 1)
    assert abs(share - 0.5) < 4.5 * 0.5 / np.sqrt(_COUNT)


def test_gradient_passes_where_kept():
  key = jax.random.key(6)
  x = jnp.ones((8, 8))
  loss = jax.jit(lambda x: jnp.sum(dropout.dropout(x, 0.25, key, 0)))
  kept = np.asarray(dropout.dropout(x, 0.25, key, 0)) != 0
  np.testing.assert_allclose(jax.grad(loss)(x), kept / 0.75, rtol=1e-6)


def test_bfloat16_stays_bfloat16():
  y = dropout.dropout(jnp.ones((4, 4), jnp.bfloat16), 0.5, jax.random.key(0), 0)
  assert y.dtype == jnp.bfloat16


def test_a_tokens_key_is_a_function_of_its_row_and_place():
  row_keys = jax.random.split(jax.random.key(0), 3)
  of = lambda rows, places: jax.random.key_data(
    dropout.keys_at(row_keys, jnp.array(rows), jnp.array(places))
  )
  keys = of([0, 0, 1, 2, 2], [0, 1, 1, 5, 2**16])
  assert len(np.unique(keys, axis=0)) == 5
  np.testing.assert_array_equal(of([2, 0], [5, 1]), keys[np.array([3, 1])])


def test_tokens_of_a_row_draw_independently():
  rows, places = jnp.repeat(jnp.arange(4), 64), jnp.tile(jnp.arange(64), 4)
  keys = dropout.keys_at(jax.random.split(jax.random.key(1), 4), rows, places)
  kept = np.asarray(dropout.random_bits(keys, 0, (256, 512))) >= 2**31
  # Every pair of tokens agrees in about half of 512 features.
  agree = np.corrcoef(kept.astype(np.float64)) * np.sqrt(512)
  assert np.abs(agree[~np.eye(256, dtype=bool)]).max() < 6
