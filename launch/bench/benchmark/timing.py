"""Medians and memory."""

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
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


def medians_in_turns(
  runs: Sequence[Callable[[int], Any]], rounds: int
) -> list[float]:
  """Returns the median time of each, all called once per round.

  In turns because the speed of a machine that others use as well drifts: so it
  is the same for all, and their ratio holds.

  Args:
    runs: each takes the number of the round and waits for what it does. The
      round before the first, number 0, is not counted.
    rounds: how many are timed.
  """
  times: list[list[float]] = [[] for _ in runs]
  for number in range(1 + rounds):
    for run, own in zip(runs, times, strict=True):
      start = time.perf_counter()
      run(number)
      own.append(time.perf_counter() - start)
  return [statistics.median(own[1:]) for own in times]


def peak_memory() -> float:
  """Returns the most bytes held so far, of the device or of the process."""
  found = jax.devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in found:
    return found['peak_bytes_in_use']
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
