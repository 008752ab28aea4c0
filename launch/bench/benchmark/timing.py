"""Medians, memory, and what the device can do at best."""

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

_REPEATS = 5


def median_seconds(run: Callable[[], Any], repeats: int = _REPEATS) -> float:
  """Returns the median time of a call; one call before it is not counted.

  Args:
    run: does the work; what it returns is waited for.
    repeats: calls that are timed.
  """
  jax.block_until_ready(run())
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(run())
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def peak_flops(dtype: str) -> float:
  """Returns the FLOP/s of a large matrix product on the first device."""
  is_cpu = jax.devices()[0].platform == 'cpu'
  size = 2048 if is_cpu else 8192
  a = jnp.ones((size, size), dtype)
  multiply = jax.jit(lambda x, y: x @ y)
  return 2 * size**3 / median_seconds(lambda: multiply(a, a))


def peak_memory() -> float:
  """Returns the most bytes held so far, of the device or of the process."""
  found = jax.devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in found:
    return found['peak_bytes_in_use']
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
