"""Losses of many pairs and their gradient, in proportion to real tokens.

The losses of the rows add up to the total, so it is known before what a row's
backward pass starts with: a chunk of rows runs forward and, while its
activations are there, backward. None are kept, and only the attention's weights
computed again (`models.token_layout`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import pair_tokens
from tagsdc_jax.engines.engine import Embedded, RowLosses, Rows
from tagsdc_jax.engines.packed import chunks, targets
from tagsdc_jax.models import retrieval, token_layout, uniter
from tagsdc_jax.models.retrieval import RetrievalModel


class _Cut(NamedTuple):
  """How the work is cut; static."""

  buckets: tuple[int, ...]
  num_tokens: int
  num_outputs: int


class _Weights(NamedTuple):
  """What all rows share, with gradient."""

  encoder: Any
  heads: Any
  table: Float[Array, 'places D']  # Tokens of all texts and images.


class _Fixed(NamedTuple):
  """What no gradient flows to; one entry per row."""

  pairs: pair_tokens.Pairs
  is_needed: Bool[Array, 'rows']
  is_likely: Bool[Array, 'rows']
  keys: Key[Array, 'rows']
  constants: Any
  reads_all: Bool[Array, 'rows'] | None


def sum_losses(
  row_losses: RowLosses,
  model: RetrievalModel,
  params: Any,
  heads: Any,
  texts: Embedded,
  images: Embedded,
  rows: Rows,
  dropout_key: Key[Array, ''],
  *,
  buckets: Sequence[int],
  num_tokens: int,
  num_outputs: int,
) -> tuple[Float[Array, ''], Any]:
  """Returns what `Engine.loss` does; see `packed.engine` for what it asks.

  Args:
    row_losses: its gradient in the heads, as the encoder's, is accumulated
      once per chunk. Rows that are not needed come with constants of 0 and
      must lose 0.
    model: the network.
    params: see `Engine.loss`, as all that is not named here.
    heads: as above.
    texts: as above.
    images: as above.
    rows: as above.
    dropout_key: as above.
    buckets: static length buckets, see `chunks.length_buckets`.
    num_tokens: at once, at most.
    num_outputs: as above.
  """
  num_rows = rows.text_rows.shape[0]
  fixed = _Fixed(
    pair_tokens.make_pairs(texts, images, rows.text_rows, rows.image_rows),
    rows.is_needed,
    rows.is_likely,
    pair_tokens.row_keys(dropout_key, num_rows),
    rows.constants,
    rows.reads_all,
  )
  encoder = params['encoder']
  if num_outputs > 1 and rows.reads_all is None:
    encoder = uniter.merge_layers(encoder)
  weights = _Weights(encoder, heads, pair_tokens.stack(texts, images))
  total, values = _sum(
    row_losses,
    model,
    _Cut(
      tuple(buckets),
      chunks.chunk_tokens(num_rows, buckets, num_tokens),
      num_outputs,
    ),
    weights,
    rows.inputs,
    fixed,
  )
  return total, jax.lax.stop_gradient(values)


def _run(
  row_losses: RowLosses,
  model: RetrievalModel,
  cut: _Cut,
  weights: _Weights,
  inputs: Any,
  fixed: _Fixed,
  is_differentiated: bool,
) -> tuple[Float[Array, ''], Any, Any]:
  """Returns the total, values, and d total / d (weights, inputs) or None."""
  num_rows = fixed.is_needed.shape[0]
  groups = fixed.is_likely.astype(jnp.int32)
  if fixed.reads_all is not None:
    groups += 2 * fixed.reads_all
  plan = chunks.make_plan(
    fixed.pairs.lengths, fixed.is_needed, cut.buckets, cut.num_tokens, groups
  )

  def run(
    rows: Int[Array, 'max_rows'], layout: token_layout.Layout, sums: Any
  ) -> tuple[Float[Array, ''], Any, Any]:
    own = _take(fixed, rows)
    is_real = own.is_needed & (rows < num_rows)
    constants = targets.zero_others(is_real, own.constants)
    reads_all = (
      None if own.reads_all is None else jnp.any(own.reads_all & is_real)
    )
    joined, mask = pair_tokens.join_rows(weights.table, own.pairs, layout)

    def lose(
      encoder: Any, heads: Any, joined: Float[Array, 'tokens D'], inputs: Any
    ) -> tuple[Float[Array, ''], Any]:
      states = retrieval.apply(
        model,
        {'encoder': encoder},
        'encode_tokens',
        joined,
        mask,
        layout,
        num_outputs=cut.num_outputs,
        dropout_keys=own.keys,
        reads_all=reads_all,
      )
      return row_losses(heads, states, inputs, constants)

    arguments = (weights.encoder, weights.heads, joined, _take(inputs, rows))
    if sums is None:
      return *lose(*arguments), None
    total, pull_back, values = jax.vjp(lose, *arguments, has_aux=True)

    def add(sums: Any) -> Any:
      d_weights, d_inputs = sums
      # The cotangent stands here, where it is a constant to the compiler.
      *of_weights, d_joined, of_inputs = pull_back(jnp.ones_like(total))
      encoder, heads = jax.tree.map(
        jnp.add, (d_weights.encoder, d_weights.heads), tuple(of_weights)
      )
      places, _ = pair_tokens.places(own.pairs, layout)
      table = d_weights.table.at[places].add(
        jnp.where(mask[:, None], d_joined, 0).astype(d_weights.table.dtype),
        mode='drop',
      )
      return (
        _Weights(encoder, heads, table),
        _store(d_inputs, rows, of_inputs),
      )

    # The sums go through the branch, so that it adds where they lie.
    return total, values, jax.lax.cond(total != 0, add, lambda x: x, sums)

  def body(carry: Any) -> Any:
    start, total, values, sums = carry
    rows, layout, following = chunks.next_chunk(
      plan, start, cut.buckets, cut.num_tokens
    )
    lost, found, sums = run(rows, layout, sums)
    return following, total + lost, _store(values, rows, found), sums

  most = cut.num_tokens // cut.buckets[0]
  states = jax.ShapeDtypeStruct(
    (most, cut.num_outputs, weights.table.shape[-1]), model.dtype
  )
  shapes = jax.eval_shape(
    row_losses,
    weights.heads,
    states,
    *_take((inputs, fixed.constants), plan.order[:most]),
  )[1]
  values = jax.tree.map(
    lambda x: jnp.zeros((num_rows, *x.shape[1:]), x.dtype), shapes
  )
  sums = None
  if is_differentiated:
    # Sums of many rows: float32 at least, whatever the network computes in.
    table = jnp.zeros(
      weights.table.shape, jnp.promote_types(weights.table.dtype, jnp.float32)
    )
    sums = (
      _Weights(_zeros(weights.encoder), _zeros(weights.heads), table),
      _zeros(inputs),
    )
  _, total, values, sums = jax.lax.while_loop(
    lambda carry: carry[0] < plan.num_valid,
    body,
    (jnp.int32(0), jnp.float32(0), values, sums),
  )
  return total, targets.zero_others(fixed.is_needed, values), sums


def _take(tree: Any, rows: Int[Array, 'max_rows']) -> Any:
  """Returns some rows; a number beyond the last one gives the last."""
  return jax.tree.map(lambda x: x[jnp.minimum(rows, x.shape[0] - 1)], tree)


def _store(tree: Any, rows: Int[Array, 'max_rows'], values: Any) -> Any:
  return jax.tree.map(lambda x, y: x.at[rows].set(y, mode='drop'), tree, values)


def _zeros(tree: Any) -> Any:
  return jax.tree.map(jnp.zeros_like, tree)


def _forward(
  row_losses: RowLosses,
  model: RetrievalModel,
  cut: _Cut,
  weights: _Weights,
  inputs: Any,
  fixed: _Fixed,
) -> tuple[Float[Array, ''], Any]:
  return _run(row_losses, model, cut, weights, inputs, fixed, False)[:2]


_sum = jax.custom_vjp(_forward, nondiff_argnums=(0, 1, 2))


def _sum_fwd(
  row_losses: RowLosses,
  model: RetrievalModel,
  cut: _Cut,
  weights: _Weights,
  inputs: Any,
  fixed: _Fixed,
) -> tuple[tuple[Float[Array, ''], Any], Any]:
  total, values, grads = _run(
    row_losses, model, cut, weights, inputs, fixed, True
  )
  # The table's dtype goes along as an array: residuals are arrays.
  return (total, values), (*grads, weights.table[:0])


def _sum_bwd(
  row_losses: RowLosses,
  model: RetrievalModel,
  cut: _Cut,
  residuals: Any,
  cotangents: Any,
) -> tuple[_Weights, Any, None]:
  del row_losses, model, cut
  d_weights, d_inputs, table = residuals
  d_weights, d_inputs = jax.tree.map(
    lambda x: cotangents[0] * x, (d_weights, d_inputs)
  )
  return (
    d_weights._replace(table=d_weights.table.astype(table.dtype)),
    d_inputs,
    None,
  )


_sum.defvjp(_sum_fwd, _sum_bwd)
