"""What a device can do: plausible, and measured once."""

import time

import jax

from tagsdc_jax.runtime import peak_flop


def test_a_rate_that_is_measured_once():
  device = jax.local_devices()[0]
  found = peak_flop.flop_per_second(device, 'float32', 'highest')
  # A core's clock times two would be less than the first.
  assert 1e9 < found < 1e15
  start = time.perf_counter()
  assert peak_flop.flop_per_second(device, 'float32', 'highest') == found
  assert time.perf_counter() - start < 1e-3
