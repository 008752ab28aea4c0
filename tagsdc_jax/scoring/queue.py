"""Rows of any length, run in chunks of the narrowest width that fits."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tagsdc_jax import packing

# (width, row numbers [rows]) -> anything. Called once per width when tracing;
# row numbers may exceed the last row by one (filling).
ChunkFunction = Callable[[int, jax.Array], Any]


@struct.dataclass
class Plan:
  """Which rows a queue's chunks hold."""
  order: jax.Array  # int32 [M rounded up]; filling is M
  branch: jax.Array  # int32 [number of chunks], index into the widths
  num_chunks: jax.Array  # int32 [], how many hold a valid row


def length_widths(lengths: np.ndarray, longest: int,
                  num_widths: int) -> tuple[int, ...]:
  """Returns the ascending widths that leave the least padding.

  Exact, by dynamic programming over the lengths that occur: each is padded to
  the next width.

  Args:
    lengths: int [M], a sample of the rows' lengths.
    longest: the last width; at least the longest row that will come.
    num_widths: how many at most; fewer where fewer lengths occur.
  """
  own, counts = np.unique(lengths, return_counts=True)
  sizes = np.append(own[own < longest].astype(np.int64), longest)
  below = np.concatenate(
      [[0], np.cumsum(counts[own < longest]), [len(lengths)]])
  # cost[k, j]: least padded tokens of all rows up to sizes[j], k + 1 widths.
  number = min(num_widths, len(sizes))
  cost = np.full((number, len(sizes)), np.inf)
  cost[0] = sizes * below[1:]
  choice = np.zeros((number, len(sizes)), np.int64)
  for k in range(1, number):
    for j in range(k, len(sizes)):
      options = cost[k - 1, :j] + sizes[j] * (below[j + 1] - below[1:j + 1])
      choice[k, j] = np.argmin(options)
      cost[k, j] = options[choice[k, j]]
  place = len(sizes) - 1
  widths = [int(sizes[place])]
  for k in range(number - 1, 0, -1):
    place = choice[k, place]
    widths.append(int(sizes[place]))
  return tuple(reversed(widths))


def even_chunk(num_rows: int, most: int) -> int:
  """Returns the rows per chunk with which as few chunks are filled best."""
  num_chunks = -(-num_rows // most)
  return -(-num_rows // max(num_chunks, 1))


def make_plan(lengths: jax.Array, is_valid: jax.Array, widths: Sequence[int],
              chunk: int, comes_first: jax.Array | None = None) -> Plan:
  """Returns chunks of the valid rows, sorted by length, longest first.

  So a chunk is of one width but for a few at the borders.

  Args:
    lengths: int32 [M], at most widths[-1].
    is_valid: bool [M].
    widths: ascending, static.
    chunk: rows at once.
    comes_first: bool [M], valid rows of which all come before the others, each
      group sorted by length; None: one group.
  """
  num_rows = lengths.shape[0]
  lengths = jnp.where(is_valid, lengths, 0)
  rank = lengths
  if comes_first is not None:
    rank += jnp.where(is_valid & comes_first, widths[-1], 0)
  order = jnp.argsort(-rank, stable=True).astype(jnp.int32)
  order = jnp.pad(order, (0, -num_rows % chunk), constant_values=num_rows)
  # The longest row of a chunk decides its width.
  longest = jnp.max(lengths.at[order].get(mode='fill', fill_value=0).reshape(
      -1, chunk), axis=1)
  branch = jnp.searchsorted(jnp.asarray(widths, jnp.int32), longest)
  return Plan(order, branch, (jnp.sum(is_valid) + chunk - 1) // chunk)


def run_chunk(plan: Plan, number: jax.Array, function: ChunkFunction,
              widths: Sequence[int], chunk: int) -> tuple[jax.Array, Any]:
  """Returns a chunk's row numbers and what the function makes of them."""
  rows = jax.lax.dynamic_slice_in_dim(plan.order, number * chunk, chunk)
  branches = [lambda rows, w=w: function(w, rows) for w in widths]
  return rows, jax.lax.switch(plan.branch[number], branches, rows)


def run_queue(function: ChunkFunction, lengths: jax.Array,
              is_valid: jax.Array, *, widths: Sequence[int],
              chunk: int) -> jax.Array:
  """Applies a function to the valid rows, chunk by chunk.

  The loop ends with the last valid row.

  Args:
    function: returns an array [chunk, ...], the same shape for every width.
    lengths: int32 [M], at most widths[-1].
    is_valid: bool [M].
    widths: ascending, static.
    chunk: rows at once.
  Returns:
    [M, ...]; 0 where not valid.
  """
  num_rows = lengths.shape[0]
  plan = make_plan(lengths, is_valid, widths, chunk)
  shape = jax.eval_shape(lambda rows: function(widths[0], rows),
                         plan.order[:chunk])

  def body(i: jax.Array, packed: jax.Array) -> jax.Array:
    _, values = run_chunk(plan, i, function, widths, chunk)
    return jax.lax.dynamic_update_slice_in_dim(packed, values, i * chunk,
                                               axis=0)

  packed = jax.lax.fori_loop(
      0, plan.num_chunks, body,
      jnp.zeros((len(plan.order), *shape.shape[1:]), shape.dtype))
  values = packing.put_back(packed, plan.order, num_rows)
  return packing.zero_others(is_valid, values)
