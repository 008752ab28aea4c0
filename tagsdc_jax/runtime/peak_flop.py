"""The most that a device can do, for shares of it."""

import functools
import time

import jax
import jax.numpy as jnp

_REPEATS = 3
# A larger product is no faster there, and takes longer.
_SIZE, _SIZE_ON_CPU = 8192, 1024


@functools.cache
def flop_per_second(device: jax.Device, dtype: str, precision: str) -> float:
  """Returns the FLOP/s of a large matrix product; measured once.

  The best of a few, since a short disturbance would make every share too high.
  Where a CPU is divided into several devices each is given all of its cores.

  Args:
    device: one of this process's.
    dtype: of the factors.
    precision: of the product, one of settings.PRECISIONS.
  """
  size = _SIZE_ON_CPU if device.platform == 'cpu' else _SIZE
  # Not of ones: a GPU clocks higher on bits that never change.
  factor = jnp.sin(jnp.arange(size * size, dtype=jnp.float32, device=device))
  factor = factor.reshape(size, size).astype(dtype)
  multiply = jax.jit(functools.partial(jnp.matmul, precision=precision))
  multiply(factor, factor).block_until_ready()
  seconds = []
  for _ in range(_REPEATS):
    start = time.perf_counter()
    multiply(factor, factor).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return 2 * size**3 / min(seconds)
