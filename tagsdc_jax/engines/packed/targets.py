"""Runs a function on the real rows of an array, with static shapes.

For vocabulary-wide heads, which read target positions only.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

from tagsdc_jax.arrays import Array

# (parameters, rows [chunk, ...], constants [chunk, ...]) -> (sum of losses,
# values [chunk, ...])
ChunkFunction = Callable[[Any, Any, Any], tuple[Float[Array, ''], Any]]


def real_first(
  is_real: Bool[Array, 'rows'], multiple: int
) -> Int[Array, 'padded']:
  """Returns row indices, those of real rows first, in order.

  Args:
    is_real: which rows are real.
    multiple: the result's length is rounded up to a multiple of this.
  Returns:
    int32; padding is the number of rows, which is not a valid index.
  """
  num_rows = is_real.shape[0]
  order = jnp.argsort(~is_real, stable=True).astype(jnp.int32)
  return jnp.pad(order, (0, -num_rows % multiple), constant_values=num_rows)


def put_back(packed: Any, order: Int[Array, 'padded'], num_rows: int) -> Any:
  """Returns the packed rows at their original indices, zeros elsewhere."""

  def scatter(x: Shaped[Array, 'padded ...']) -> Shaped[Array, 'rows ...']:
    empty = jnp.zeros((num_rows, *x.shape[1:]), x.dtype)
    return empty.at[order].set(x, mode='drop', unique_indices=True)

  return jax.tree.map(scatter, packed)


def zero_others(is_real: Bool[Array, 'rows'], rows: Any) -> Any:
  """Returns rows [rows, ...] with zeros where is_real is False."""
  return jax.tree.map(
    lambda x: jnp.where(
      is_real.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.zeros_like(x)
    ),
    rows,
  )


def sum_real_rows(
  function: ChunkFunction,
  parameters: Any,
  rows: Any,
  constants: Any,
  is_real: Bool[Array, 'rows'],
  chunk: int,
) -> tuple[Float[Array, ''], Any]:
  """Returns the total loss of the real rows, in chunks of fixed size.

  Only chunks with real rows run. A chunk's gradient is computed together with
  its loss, while its vocabulary-wide intermediates are in memory; the backward
  pass only scales it.

  Args:
    function: returns the sum of the losses of a chunk's rows, and other values
      of interest. Rows whose constants are 0, such as padding, must have a loss
      of 0. Must not close over traced values.
    parameters: the parameters that `function` takes, and no others: their
      gradient is accumulated once per chunk.
    rows: floats [rows, ...], with gradient.
    constants: [rows, ...], without gradient.
    is_real: which rows are real; the others may have any values.
    chunk: rows per call.
  Returns:
    The sum, with gradient; values [rows, ...], without gradient and zero for
    rows that are not real.
  """
  num_rows = is_real.shape[0]
  order = real_first(is_real, chunk)
  # Zero the padding: 0 times NaN would make the gradient NaN.
  packed = jax.tree.map(
    lambda x: x.at[order].get(mode='fill', fill_value=0),
    zero_others(is_real, (rows, constants)),
  )
  num_chunks = (jnp.sum(is_real) + chunk - 1) // chunk
  total, values = _sum_chunks(function, chunk, parameters, *packed, num_chunks)
  values = jax.lax.stop_gradient(put_back(values, order, num_rows))
  return total, zero_others(is_real, values)


def _slice(tree: Any, i: Int[Array, ''] | int, chunk: int) -> Any:
  return jax.tree.map(
    lambda x: jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk), tree
  )


def _store(tree: Any, update: Any, i: Int[Array, ''] | int, chunk: int) -> Any:
  return jax.tree.map(
    lambda x, y: jax.lax.dynamic_update_slice_in_dim(
      x, y.astype(x.dtype), i * chunk, axis=0
    ),
    tree,
    update,
  )


def _run(
  is_differentiated: bool,
  function: ChunkFunction,
  chunk: int,
  parameters: Any,
  rows: Any,
  constants: Any,
  num_chunks: Int[Array, ''],
) -> tuple[Float[Array, ''], Any, Any]:
  """Returns the total, values, and d total / d (parameters, rows) or None."""

  def body(i: Int[Array, ''] | int, carry: Any) -> Any:
    total, values, sums = carry
    inputs, fixed = _slice((rows, constants), i, chunk)
    if sums is None:
      loss, chunk_values = function(parameters, inputs, fixed)
    else:
      (loss, chunk_values), (d_parameters, d_inputs) = jax.value_and_grad(
        function, argnums=(0, 1), has_aux=True
      )(parameters, inputs, fixed)
      sums = (
        jax.tree.map(jnp.add, sums[0], d_parameters),
        _store(sums[1], d_inputs, i, chunk),
      )
    return total + loss, _store(values, chunk_values, i, chunk), sums

  shapes = jax.eval_shape(
    function, parameters, *_slice((rows, constants), jnp.int32(0), chunk)
  )[1]
  num_packed = jax.tree.leaves(rows)[0].shape[0]
  values = jax.tree.map(
    lambda x: jnp.zeros((num_packed, *x.shape[1:]), x.dtype), shapes
  )
  sums = (
    jax.tree.map(jnp.zeros_like, (parameters, rows))
    if is_differentiated
    else None
  )
  return jax.lax.fori_loop(0, num_chunks, body, (jnp.float32(0), values, sums))


def _forward(*arguments: Any) -> tuple[Float[Array, ''], Any]:
  return _run(False, *arguments)[:2]


_sum_chunks = jax.custom_vjp(_forward, nondiff_argnums=(0, 1))


def _sum_chunks_fwd(
  *arguments: Any,
) -> tuple[tuple[Float[Array, ''], Any], Any]:
  total, values, sums = _run(True, *arguments)
  return (total, values), sums


def _sum_chunks_bwd(
  function: ChunkFunction, chunk: int, sums: Any, cotangents: Any
) -> tuple[Any, Any, None, None]:
  del function, chunk
  d_parameters, d_rows = jax.tree.map(lambda x: cotangents[0] * x, sums)
  return d_parameters, d_rows, None, None


_sum_chunks.defvjp(_sum_chunks_fwd, _sum_chunks_bwd)
