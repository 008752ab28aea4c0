"""Rows of tokens below each other, of one width out of several.

Linear layers, LayerNorm and the like see tokens, whatever rows they stand in.
So a program that takes rows of several widths needs one copy of them, and one
per width only of what mixes the tokens of a row: attention.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

# (width, floats, others) -> arrays, the same shapes for every width.
RowFunction = Callable[[int, Any, Any], Any]


@struct.dataclass
class Layout:
  """Where S tokens stand.

  Of a width w the first S // w rows lie one after the other; what is left of
  the tokens, fewer than w, belongs to no row.
  """
  rows: jax.Array  # int32 [S], the row each token belongs to
  places: jax.Array  # int32 [S], where in it
  choice: jax.Array  # int32 [], which of the widths it is
  widths: tuple[int, ...] = struct.field(pytree_node=False)  # Ascending.

  @property
  def max_rows(self) -> int:
    """How many rows there are of the narrowest width."""
    return self.rows.shape[0] // self.widths[0]

  @property
  def width(self) -> jax.Array:
    """int32 [], of the rows."""
    return jnp.asarray(self.widths)[self.choice]

  @property
  def num_rows(self) -> jax.Array:
    """int32 [], how many rows there are."""
    return self.rows.shape[0] // self.width

  def leading(self, x: jax.Array, number: int) -> jax.Array:
    """Returns the first tokens of each row, [max_rows, number, ...].

    Rows that there are not, and places beyond the width, hold other tokens.

    Args:
      x: [S, ...].
      number: how many.
    """
    if len(self.widths) == 1:
      return x[:self.max_rows * self.widths[0]].reshape(
          self.max_rows, self.widths[0], *x.shape[1:])[:, :number]
    first = jnp.arange(self.max_rows)[:, None] * self.width
    return x.at[first + jnp.arange(number)[None]].get(mode='clip')

  def by_row(self, function: RowFunction, floats: Any, others: Any) -> Any:
    """Returns what a function makes of rows of this width.

    Where there are several widths the backward pass runs the function again:
    what it keeps has another shape for each.

    Args:
      function: called once per width when tracing; must close over nothing
        traced.
      floats: arrays, with gradient.
      others: arrays, without.
    """
    if len(self.widths) == 1:
      return function(self.widths[0], floats, others)
    # The backward pass is traced when the network's precision, which
    # `retrieval.apply` sets, is no longer in force: it is taken along.
    precision = (
        jax.config.jax_default_matmul_precision)  # type: ignore[attr-defined]
    function = functools.partial(_run_precisely, function, precision)
    return _switch(function, self.widths, floats, others, self.choice)


def of_width(widths: Sequence[int], choice: jax.Array,
             num_tokens: int) -> Layout:
  """Returns the layout of num_tokens tokens, at least the last width."""
  width = jnp.asarray(widths, jnp.int32)[choice]
  token = jnp.arange(num_tokens, dtype=jnp.int32)
  return Layout(token // width, token % width, choice, tuple(widths))


def rectangle(num_rows: int, width: int) -> Layout:
  """Returns the layout of [num_rows, width] tokens, flattened."""
  return of_width((width,), jnp.int32(0), num_rows * width)


def _run_precisely(function: RowFunction, precision: str | None,
                   width: int, floats: Any, others: Any) -> Any:
  with jax.default_matmul_precision(precision):
    return function(width, floats, others)


def _run(function: RowFunction, widths: tuple[int, ...], floats: Any,
         others: Any, choice: jax.Array) -> Any:
  return jax.lax.switch(choice, [functools.partial(function, w)
                                 for w in widths], floats, others)


_switch = jax.custom_vjp(_run, nondiff_argnums=(0, 1))


def _switch_fwd(function: RowFunction, widths: tuple[int, ...],
                *arguments: Any) -> tuple[Any, Any]:
  return _run(function, widths, *arguments), arguments


def _switch_bwd(function: RowFunction, widths: tuple[int, ...],
                arguments: Any, cotangents: Any) -> tuple[Any, None, None]:
  def pull_back(width: int, floats: Any, others: Any) -> Any:
    given, cotangents = others
    return jax.vjp(lambda x: function(width, x, given),
                   floats)[1](cotangents)[0]

  floats, others, choice = arguments
  return _run(pull_back, widths, floats, (others, cotangents),
              choice), None, None


_switch.defvjp(_switch_fwd, _switch_bwd)
