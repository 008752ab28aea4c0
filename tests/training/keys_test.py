import itertools

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax.training import keys


def _words(seed, update, micro_batch):
  drawn = keys.micro_batch_keys(seed, jnp.int32(update), jnp.int32(micro_batch))
  return [tuple(np.asarray(jax.random.key_data(key))) for key in drawn]


def test_same_arguments_give_same_keys():
  assert _words(1, 2, 3) == _words(1, 2, 3)
  # Plain numbers serve as well as arrays.
  plain = keys.micro_batch_keys(1, 2, 3)
  assert [tuple(np.asarray(jax.random.key_data(k))) for k in plain] == _words(
    1, 2, 3
  )


def test_all_keys_differ():
  grid = itertools.product((0, 1), (0, 1, 2), (0, 1, 2))
  drawn = [key for arguments in grid for key in _words(*arguments)]
  assert len(drawn) == 2 * 3 * 3 * len(keys.MicroBatchKeys._fields)
  assert len(set(drawn)) == len(drawn)


def test_jitted_equals_unjitted():
  jitted = jax.jit(keys.micro_batch_keys, static_argnums=0)
  drawn = jitted(5, jnp.int32(7), jnp.int32(11))
  assert [tuple(np.asarray(jax.random.key_data(k))) for k in drawn] == _words(
    5, 7, 11
  )


def test_inside_a_scan():
  def body(carry, number):
    return carry, jax.random.key_data(
      keys.micro_batch_keys(0, jnp.int32(4), number).mask
    )

  _, stacked = jax.lax.scan(body, None, jnp.arange(3, dtype=jnp.int32))
  for number in range(3):
    assert tuple(np.asarray(stacked[number])) == _words(0, 4, number)[0]
