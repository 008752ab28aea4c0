"""Median times and peak memory."""

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
  """Returns the median time of a call, after one warm-up call.

  Args:
    run: does the work; its result is waited for.
    repeats: the number of timed calls.
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
  """Returns the median time of each function, all called once per round.

  They take turns because the speed of a shared machine drifts: this way it
  affects all of them equally, and their ratios are valid.

  Args:
    runs: functions of the number of the round that block until done. Round 0 is
      a warm-up and not counted.
    rounds: the number of timed rounds.
  """
  times: list[list[float]] = [[] for _ in runs]
  for number in range(1 + rounds):
    for run, own in zip(runs, times, strict=True):
      start = time.perf_counter()
      run(number)
      own.append(time.perf_counter() - start)
  return [statistics.median(own[1:]) for own in times]


def peak_memory() -> float:
  """Returns the peak memory of the device or the process so far, in bytes."""
  found = jax.devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in found:
    return found['peak_bytes_in_use']
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
