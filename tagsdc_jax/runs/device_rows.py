"""Runs a program on many rows, a fixed number at a time, on all devices."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from tagsdc_jax.evaluation import matrix
from tagsdc_jax.runtime import parallel


def run(
  program: Callable[..., Any],
  params: Any,
  make: Callable[[np.ndarray], Any],
  count: int,
  size: int,
  devices: Sequence[jax.Device],
) -> Iterator[tuple[slice, Any]]:
  """Yields the results of consecutive rows, as numpy arrays.

  While the devices work, the next rows are made.

  Args:
    program: from `parallel.pmap_function`; takes parameters and rows.
    params: replicated over the devices.
    make: int [rows], indices -> a tree of arrays [rows, ...].
    count: number of rows, at least one.
    size: rows per device and call.
    devices: this process's.
  Yields:
    which rows, and a tree of arrays [rows, ...].
  """
  step = size * len(devices)

  def started() -> Iterator[tuple[slice, Any]]:
    for start in range(0, count, step):
      # The rest repeats the last row, and is dropped.
      rows = np.minimum(np.arange(start, start + step), count - 1)
      made = jax.tree.map(
        lambda x: x.reshape(len(devices), size, *x.shape[1:]), make(rows)
      )
      yield (
        slice(start, min(start + step, count)),
        program(params, parallel.put(made, devices)),
      )

  for rows, found in matrix.ahead(started(), 1):
    yield _fetched(rows, found)


def _fetched(rows: slice, found: Any) -> tuple[slice, Any]:
  def fetch(array: jax.Array) -> np.ndarray:
    whole = parallel.gather(array)
    return whole.reshape(-1, *whole.shape[2:])[: rows.stop - rows.start]

  return rows, jax.tree.map(fetch, found)
