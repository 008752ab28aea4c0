"""Consecutive rows of tokens, padded to one of several lengths.

Linear layers, LayerNorm and the like operate on tokens, regardless of their
rows. So a program for rows of several padded lengths (length buckets) contains
those layers once; only attention, which mixes the tokens of a row, is compiled
once per length.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Int, Shaped

from tagsdc_jax.arrays import Array

# (length, floats, others) -> arrays, the same shapes for every length.
RowFunction = Callable[[int, Any, Any], Any]


@struct.dataclass
class Layout:
  """The row of each token of a chunk, and its position in the row.

  A chunk is tokens // l consecutive rows padded to length l; the remaining
  tokens, fewer than l, belong to no row.
  """

  rows: Int[Array, 'tokens']  # The row of each token.
  places: Int[Array, 'tokens']  # Its position in the row.
  choice: Int[Array, '']  # Index of the padded length in `buckets`.
  # The padded lengths to choose from, ascending.
  buckets: tuple[int, ...] = struct.field(pytree_node=False)

  @property
  def max_rows(self) -> int:
    """The number of rows if they have the smallest length."""
    return self.rows.shape[0] // self.buckets[0]

  @property
  def length(self) -> Int[Array, '']:
    """The padded length of the rows."""
    return jnp.asarray(self.buckets)[self.choice]

  @property
  def num_rows(self) -> Int[Array, '']:
    """The number of rows."""
    return self.rows.shape[0] // self.length

  def leading(
    self, x: Shaped[Array, 'tokens ...'], number: int
  ) -> Shaped[Array, 'rows number ...']:
    """Returns the first `number` tokens of each of max_rows rows.

    Rows beyond num_rows and positions beyond the length contain other tokens.
    """
    if len(self.buckets) == 1:
      return x[: self.max_rows * self.buckets[0]].reshape(
        self.max_rows, self.buckets[0], *x.shape[1:]
      )[:, :number]
    first = jnp.arange(self.max_rows)[:, None] * self.length
    return x.at[first + jnp.arange(number)[None]].get(mode='clip')

  def by_row(self, function: RowFunction, floats: Any, others: Any) -> Any:
    """Returns the result of a function for rows of this length.

    With several lengths, the backward pass runs the function again, since the
    shapes of its residuals depend on the length.

    Args:
      function: called once per length during tracing; must not close over
        traced values.
      floats: arrays with gradient.
      others: arrays without gradient.
    """
    if len(self.buckets) == 1:
      return function(self.buckets[0], floats, others)
    # The backward pass is traced outside `retrieval.apply`, which sets the
    # network's precision, so the precision is passed on explicitly.
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    function = functools.partial(_run_precisely, function, precision)
    return _switch(function, self.buckets, floats, others, self.choice)


def of_bucket(
  buckets: Sequence[int], choice: Int[Array, ''], num_tokens: int
) -> Layout:
  """Returns the layout of num_tokens tokens, at least the largest length."""
  length = jnp.asarray(buckets, jnp.int32)[choice]
  token = jnp.arange(num_tokens, dtype=jnp.int32)
  return Layout(token // length, token % length, choice, tuple(buckets))


def rectangle(num_rows: int, length: int) -> Layout:
  """Returns the layout of [num_rows, length] tokens, flattened."""
  return of_bucket((length,), jnp.int32(0), num_rows * length)


def _run_precisely(
  function: RowFunction,
  precision: str | None,
  length: int,
  floats: Any,
  others: Any,
) -> Any:
  with jax.default_matmul_precision(precision):
    return function(length, floats, others)


def _run(
  function: RowFunction,
  lengths: tuple[int, ...],
  floats: Any,
  others: Any,
  choice: jax.Array,
) -> Any:
  return jax.lax.switch(
    choice,
    [functools.partial(function, length) for length in lengths],
    floats,
    others,
  )


_switch = jax.custom_vjp(_run, nondiff_argnums=(0, 1))


def _switch_fwd(
  function: RowFunction, lengths: tuple[int, ...], *arguments: Any
) -> tuple[Any, Any]:
  return _run(function, lengths, *arguments), arguments


def _switch_bwd(
  function: RowFunction,
  lengths: tuple[int, ...],
  arguments: Any,
  cotangents: Any,
) -> tuple[Any, None, None]:
  def pull_back(length: int, floats: Any, others: Any) -> Any:
    given, cotangents = others
    return jax.vjp(lambda x: function(length, x, given), floats)[1](cotangents)[
      0
    ]

  floats, others, choice = arguments
  return (
    _run(pull_back, lengths, floats, (others, cotangents), choice),
    None,
    None,
  )


_switch.defvjp(_switch_fwd, _switch_bwd)
