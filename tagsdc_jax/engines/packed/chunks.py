"""Runs rows of any length in chunks with a fixed number of tokens.

The rows of a chunk are padded to the shortest length bucket that fits them: a
chunk contains a few long rows or many short ones. Its linear layers take the
same time either way.
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

# (row indices, layout) -> anything. The index of padding is the number of rows.
ChunkFunction = Callable[[Int[Array, 'max_rows'], token_layout.Layout], Any]


@struct.dataclass
class Plan:
  """The order in which a queue of rows runs."""

  # Row indices, followed by enough padding for one chunk; the index of padding
  # is the number of rows.
  order: Int[Array, 'padded']
  lengths: Int[Array, 'padded']  # Lengths of these rows; 0 for padding.
  num_valid: Int[Array, '']  # Number of rows to run.


def length_buckets(
  lengths: Int[np.ndarray, 'rows'], longest: int, num_buckets: int
) -> tuple[int, ...]:
  """Returns the length buckets, ascending, that minimize padding.

  Each row is padded to the next bucket. The optimum is exact, by dynamic
  programming over the lengths that occur.

  Args:
    lengths: a sample of the rows' lengths.
    longest: the last bucket; no row may be longer.
    num_buckets: maximum number of buckets; fewer if fewer lengths occur.
  """
  values, counts = np.unique(lengths, return_counts=True)
  sizes = np.append(values[values < longest].astype(np.int64), longest)
  below = np.concatenate(
    [[0], np.cumsum(counts[values < longest]), [len(lengths)]]
  )
  # cost[k, j]: fewest padded tokens of rows up to sizes[j] with k + 1 buckets.
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
  """Returns the number of tokens per chunk.

  At least one row of the longest bucket; not more than all rows need.

  Args:
    num_rows: number of rows of the queue.
    buckets: length buckets, ascending.
    most: maximum number of tokens, if that is enough for one row.
  """
  return max(buckets[-1], min(most, num_rows * buckets[-1]))


def make_plan(
  lengths: Int[Array, 'rows'],
  is_valid: Bool[Array, 'rows'],
  buckets: Sequence[int],
  num_tokens: int,
  groups: Int[Array, 'rows'] | None = None,
) -> Plan:
  """Returns the plan: valid rows only, sorted by length, longest first.

  Args:
    lengths: row lengths, at most buckets[-1].
    is_valid: which rows to run.
    buckets: length buckets, ascending, static.
    num_tokens: tokens per chunk, at least buckets[-1].
    groups: group of each row, from 0. Higher groups run before lower ones; each
      group is sorted by length. None: one group.
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
  """Returns the rows of a chunk, their layout, and the start of the next chunk.

  Args:
    plan: the order of rows.
    start: index in the plan of the chunk's first row.
    buckets: length buckets, ascending, static.
    num_tokens: tokens per chunk.
  Returns:
    Row indices, padded if the chunk has fewer rows; the layout; the index in
    the plan of the next chunk's first row.
  """
  most = num_tokens // buckets[0]
  rows, lengths = (
    jax.lax.dynamic_slice_in_dim(x, start, most)
    for x in (plan.order, plan.lengths)
  )
  counts = jnp.array([num_tokens // length for length in buckets], jnp.int32)
  # The first row is the longest unless a new group starts within the chunk.
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

  The loop ends after the last valid row.

  Args:
    function: returns an array [max_rows, ...].
    lengths: row lengths, at most buckets[-1].
    is_valid: which rows to run.
    buckets: length buckets, ascending, static.
    num_tokens: tokens per chunk, at least buckets[-1].
  Returns:
    Results of the rows; 0 for those that are not valid.
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
