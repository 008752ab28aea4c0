"""Rows of any length, run in chunks of so many tokens.

A chunk holds rows of one length bucket, padded to that length, the shortest
that fits: few long ones or many short ones. Its linear layers take the same
time whatever its rows are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Int, Shaped

from tagsdc_jax.arrays import Array
from tagsdc_jax.engines.packed import targets
from tagsdc_jax.models import token_layout

# (row numbers, layout) -> anything. Row numbers may exceed the last row by one
# (padding).
ChunkFunction = Callable[[Int[Array, 'max_rows'], token_layout.Layout], Any]


@struct.dataclass
class Plan:
  """Which rows a queue's chunks hold, one after the other."""

  # The rows' numbers, then as many more as a chunk holds: padding, the number
  # of rows.
  order: Int[Array, 'padded']
  lengths: Int[Array, 'padded']  # Of these rows; 0 for padding.
  num_valid: Int[Array, '']  # How many are to be run.


def length_buckets(
  lengths: Int[np.ndarray, 'rows'], longest: int, num_buckets: int
) -> tuple[int, ...]:
  """Returns the ascending lengths that leave the least padding.

  Exact, by dynamic programming over the lengths that occur: each is padded to
  the next bucket.

  Args:
    lengths: a sample of the rows' lengths.
    longest: the last bucket; at least the longest row that will come.
    num_buckets: how many at most; fewer where fewer lengths occur.
  """
  own, counts = np.unique(lengths, return_counts=True)
  sizes = np.append(own[own < longest].astype(np.int64), longest)
  below = np.concatenate(
    [[0], np.cumsum(counts[own < longest]), [len(lengths)]]
  )
  # cost[k, j]: least padded tokens of all rows up to sizes[j], k + 1 buckets.
  number = min(num_buckets, len(sizes))
  cost = np.full((number, len(sizes)), np.inf)
  cost[0] = sizes * below[1:]
  choice = np.zeros((number, len(sizes)), np.int64)
  for k in range(1, number):
    for j in range(k, len(sizes)):
      options = cost[k - 1, :j] + sizes[j] * (below[j + 1] - below[1 : j + 1])
      choice[k, j] = np.argmin(options)
      cost[k, j] = options[choice[k, j]]
  place = len(sizes) - 1
  buckets = [int(sizes[place])]
  for k in range(number - 1, 0, -1):
    place = choice[k, place]
    buckets.append(int(sizes[place]))
  return tuple(reversed(buckets))


def chunk_tokens(num_rows: int, buckets: Sequence[int], most: int) -> int:
  """Returns how many tokens a queue of so many rows should run at once.

  Args:
    num_rows: of the queue.
    buckets: ascending.
    most: as many if there are as many; the last bucket at least.
  """
  return max(buckets[-1], min(most, num_rows * buckets[-1]))


def make_plan(
  lengths: Int[Array, 'rows'],
  is_valid: Bool[Array, 'rows'],
  buckets: Sequence[int],
  num_tokens: int,
  groups: Int[Array, 'rows'] | None = None,
) -> Plan:
  """Returns the valid rows, sorted by length, longest first.

  Args:
    lengths: at most buckets[-1].
    is_valid: which rows are to be run.
    buckets: ascending, static.
    num_tokens: of a chunk, at least buckets[-1].
    groups: from 0: valid rows of a higher group come before all of
      a lower one, each group sorted by length; None: one group.
  """
  num_rows = lengths.shape[0]
  lengths = jnp.where(is_valid, lengths, 0)
  rank = lengths
  if groups is not None:
    rank += jnp.where(is_valid, groups * buckets[-1], 0)
  order = jnp.argsort(-rank, stable=True).astype(jnp.int32)
  order = jnp.pad(
    order, (0, num_tokens // buckets[0]), constant_values=num_rows
  )
  return Plan(
    order,
    lengths.at[order].get(mode='fill', fill_value=0),
    jnp.sum(is_valid, dtype=jnp.int32),
  )


def next_chunk(
  plan: Plan, start: Int[Array, ''], buckets: Sequence[int], num_tokens: int
) -> tuple[Int[Array, 'max_rows'], token_layout.Layout, Int[Array, '']]:
  """Returns the rows of a chunk, their layout, and where the next one starts.

  Args:
    plan: the queue.
    start: place in the plan of the chunk's first row.
    buckets: ascending, static.
    num_tokens: of a chunk.
  Returns:
    Row numbers, padding where there are fewer in the chunk; the layout; the
    place in the plan.
  """
  most = num_tokens // buckets[0]
  rows, lengths = (
    jax.lax.dynamic_slice_in_dim(x, start, most)
    for x in (plan.order, plan.lengths)
  )
  counts = jnp.array([num_tokens // length for length in buckets], jnp.int32)
  # A longer row than the first one is met where the next group begins.
  longest = jax.lax.cummax(lengths)[counts - 1]
  choice = jnp.argmax(longest <= jnp.array(buckets)).astype(jnp.int32)
  num_rows = plan.order.shape[0] - most
  rows = jnp.where(jnp.arange(most) < counts[choice], rows, num_rows)
  return (
    rows,
    token_layout.of_bucket(buckets, choice, num_tokens),
    start + counts[choice],
  )


def run_queue(
  function: ChunkFunction,
  lengths: Int[Array, 'rows'],
  is_valid: Bool[Array, 'rows'],
  *,
  buckets: Sequence[int],
  num_tokens: int,
) -> Shaped[Array, 'rows ...']:
  """Applies a function to the valid rows, chunk by chunk.

  The loop ends with the last valid row.

  Args:
    function: returns an array [max_rows, ...].
    lengths: at most buckets[-1].
    is_valid: which rows are to be run.
    buckets: ascending, static.
    num_tokens: of a chunk, at least buckets[-1].
  Returns:
    0 where not valid.
  """
  plan = make_plan(lengths, is_valid, buckets, num_tokens)
  start = jnp.int32(0)
  shape = jax.eval_shape(
    lambda: function(*next_chunk(plan, start, buckets, num_tokens)[:2])
  )

  def body(carry: Any) -> Any:
    start, values = carry
    rows, layout, following = next_chunk(plan, start, buckets, num_tokens)
    return following, values.at[rows].set(function(rows, layout), mode='drop')

  values = jnp.zeros((*lengths.shape, *shape.shape[1:]), shape.dtype)
  _, values = jax.lax.while_loop(
    lambda carry: carry[0] < plan.num_valid, body, (start, values)
  )
  return targets.zero_others(is_valid, values)
