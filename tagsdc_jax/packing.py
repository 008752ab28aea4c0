"""Work in proportion to the rows that exist, with static shapes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# (parameters, rows [Q, ...]) -> (values float [Q], anything else [Q, ...])
ChunkFunction = Callable[[Any, Any], tuple[jax.Array, Any]]


def real_first(is_real: jax.Array, multiple: int) -> jax.Array:
  """Returns row numbers, real ones first and in order.

  Args:
    is_real: bool [M].
    multiple: the result's length is rounded up to a multiple of this.
  Returns:
    int32 [M rounded up]; the filling is M, which is no row.
  """
  num_rows = is_real.shape[0]
  order = jnp.argsort(~is_real, stable=True).astype(jnp.int32)
  return jnp.pad(order, (0, -num_rows % multiple), constant_values=num_rows)


def put_back(packed: Any, order: jax.Array, num_rows: int) -> Any:
  """Returns the packed rows at their own places, zeros elsewhere."""
  def scatter(x: jax.Array) -> jax.Array:
    empty = jnp.zeros((num_rows, *x.shape[1:]), x.dtype)
    return empty.at[order].set(x, mode='drop', unique_indices=True)
  return jax.tree.map(scatter, packed)


def zero_others(is_real: jax.Array, rows: Any) -> Any:
  """Returns rows [M, ...] with zeros where is_real [M] is False."""
  return jax.tree.map(
      lambda x: jnp.where(is_real.reshape(-1, *[1] * (x.ndim - 1)), x,
                          jnp.zeros_like(x)), rows)


def map_real_rows(function: ChunkFunction, parameters: Any, rows: Any,
                  is_real: jax.Array, chunk: int) -> tuple[jax.Array, Any]:
  """Applies a function to the real rows only, in chunks of fixed size.

  As many chunks run as hold a real row; there is no cap on their number.
  Values are differentiable in parameters and rows; the backward pass computes
  each chunk anew instead of keeping its (vocabulary-wide) intermediates.

  Args:
    function: maps (parameters, rows [Q, ...]) to (values [Q], extras
      [Q, ...]); rows that are filling may hold anything. No gradient flows
      through extras.
    parameters: what `function` needs, and no more: its gradient is
      accumulated once per chunk.
    rows: arrays [M, ...].
    is_real: bool [M].
    chunk: Q, rows per call.
  Returns:
    values [M] and extras [M, ...], zeros at rows that are not real.
  """
  num_rows = is_real.shape[0]
  order = real_first(is_real, chunk)
  # Rows that fill up a chunk get cotangent 0, which a NaN would survive.
  rows = zero_others(is_real, rows)
  # Clipped look-up: filling repeats the last row and is dropped afterwards.
  packed = jax.tree.map(lambda x: x.at[order].get(mode='clip'), rows)
  num_chunks = (jnp.sum(is_real) + chunk - 1) // chunk
  values, extras = _map_chunks(function, chunk, parameters, packed,
                               num_chunks)
  values, extras = put_back((values, extras), order, num_rows)
  return zero_others(is_real, (values, extras))


def _slice(tree: Any, i: jax.Array, chunk: int) -> Any:
  return jax.tree.map(
      lambda x: jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk), tree)


def _store(tree: Any, update: Any, i: jax.Array, chunk: int) -> Any:
  return jax.tree.map(
      lambda x, y: jax.lax.dynamic_update_slice_in_dim(
          x, y.astype(x.dtype), i * chunk, axis=0), tree, update)


def _map_chunks_impl(function, chunk, parameters, packed, num_chunks):
  first = _slice(packed, jnp.int32(0), chunk)
  shapes = jax.eval_shape(function, parameters, first)
  total = jax.tree.leaves(packed)[0].shape[0]
  out = jax.tree.map(lambda s: jnp.zeros((total, *s.shape[1:]), s.dtype),
                     shapes)

  def body(i, out):
    return _store(out, function(parameters, _slice(packed, i, chunk)), i,
                  chunk)
  return jax.lax.fori_loop(0, num_chunks, body, out)


_map_chunks = jax.custom_vjp(_map_chunks_impl, nondiff_argnums=(0, 1))


def _map_chunks_fwd(function, chunk, parameters, packed, num_chunks):
  out = _map_chunks_impl(function, chunk, parameters, packed, num_chunks)
  return out, (parameters, packed, num_chunks)


def _is_float(x: jax.Array) -> bool:
  return jnp.issubdtype(x.dtype, jnp.floating)


def _map_chunks_bwd(function, chunk, residuals, cotangents):
  parameters, packed, num_chunks = residuals
  value_cotangent = cotangents[0]
  leaves, structure = jax.tree.flatten(packed)
  floats = [x for x in leaves if _is_float(x)]

  def body(i, carry):
    parameter_sum, row_cotangents = carry
    pieces = _slice(leaves, i, chunk)

    def values(params, float_pieces):
      fill = iter(float_pieces)
      merged = [next(fill) if _is_float(x) else x for x in pieces]
      return function(params, jax.tree.unflatten(structure, merged))[0]

    _, pull_back = jax.vjp(values, parameters,
                           [x for x in pieces if _is_float(x)])
    d_params, d_rows = pull_back(_slice(value_cotangent, i, chunk))
    return (jax.tree.map(jnp.add, parameter_sum, d_params),
            _store(row_cotangents, d_rows, i, chunk))

  zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
  d_params, d_floats = jax.lax.fori_loop(
      0, num_chunks, body, (zeros(parameters), zeros(floats)))
  fill = iter(d_floats)
  d_rows = jax.tree.unflatten(
      structure, [next(fill) if _is_float(x) else None for x in leaves])
  return d_params, d_rows, None


_map_chunks.defvjp(_map_chunks_fwd, _map_chunks_bwd)
