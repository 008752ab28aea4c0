"""Rows of tokens one after the other, padded to one of several lengths.

Linear layers, LayerNorm and the like see tokens, whatever rows they belong to.
So a program that takes rows of several padded lengths (length buckets) needs
those layers once, and once per length only what mixes the tokens of a row:
attention.
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
  """Which row each token of a chunk belongs to, and where in it.

  Rows padded to length l lie one after the other, tokens // l of them; the
  tokens that are left, fewer than l, belong to no row.
  """

  rows: Int[Array, 'tokens']  # The row each token belongs to.
  places: Int[Array, 'tokens']  # Where in its row.
  choice: Int[Array, '']  # Which of the lengths it is.
  # The padded lengths to choose from, ascending.
  buckets: tuple[int, ...] = struct.field(pytree_node=False)

  @property
  def max_rows(self) -> int:
    """How many rows there are of the smallest length."""
    return self.rows.shape[0] // self.buckets[0]

  @property
  def length(self) -> Int[Array, '']:
    """The padded length of the rows."""
    return jnp.asarray(self.buckets)[self.choice]

  @property
  def num_rows(self) -> Int[Array, '']:
    """How many rows there are."""
    return self.rows.shape[0] // self.length

  def leading(
    self, x: Shaped[Array, 'tokens ...'], number: int
  ) -> Shaped[Array, 'rows number ...']:
    """Returns the first `number` tokens of each of max_rows rows.

    Rows beyond num_rows, and places beyond the length, hold other tokens.
    """
    if len(self.buckets) == 1:
      return x[: self.max_rows * self.buckets[0]].reshape(
        self.max_rows, self.buckets[0], *x.shape[1:]
      )[:, :number]
    first = jnp.arange(self.max_rows)[:, None] * self.length
    return x.at[first + jnp.arange(number)[None]].get(mode='clip')

  def by_row(self, function: RowFunction, floats: Any, others: Any) -> Any:
    """Returns what a function makes of rows of this length.

    Where there are several lengths the backward pass runs the function again:
    its residuals have another shape for each.

    Args:
      function: called once per length when tracing; must close over nothing
        traced.
      floats: arrays, with gradient.
      others: arrays, without.
    """
    if len(self.buckets) == 1:
      return function(self.buckets[0], floats, others)
    # The backward pass is traced when the network's precision, which
    # `retrieval.apply` sets, is no longer in force: it is taken along.
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    function = functools.partial(_run_precisely, function, precision)
    return _switch(function, self.buckets, floats, others, self.choice)


def of_bucket(
  buckets: Sequence[int], choice: Int[Array, ''], num_tokens: int
) -> Layout:
  """Returns the layout of num_tokens tokens, at least the last length."""
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
