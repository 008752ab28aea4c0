"""The peak FLOP/s of a device, for utilization."""

import functools
import time

import jax
import jax.numpy as jnp

_REPEATS = 3
# Larger products take longer without a higher rate.
_SIZE, _SIZE_ON_CPU = 8192, 1024


@functools.cache
def flop_per_second(device: jax.Device, dtype: str, precision: str) -> float:
  """Returns the FLOP/s of a large matrix product; measured once.

  The best of several repeats, since a disturbance would inflate utilization.
  If a CPU is split into several devices, each is measured with all cores.

  Args:
    device: one of this process's.
    dtype: of the factors.
    precision: of the product, one of settings.PRECISIONS.
  """
  size = _SIZE_ON_CPU if device.platform == 'cpu' else _SIZE
  # Not ones: GPUs clock higher on constant data.
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
