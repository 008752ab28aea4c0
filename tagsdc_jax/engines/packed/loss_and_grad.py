"""The total loss of many pairs and its gradient, chunk by chunk.

The total is the sum of the rows' losses, so each chunk of rows can run backward
right after its forward pass. No activations are stored between chunks, and only
attention weights are recomputed (`models.token_layout`). The cost is
proportional to the number of real tokens, up to the padding within buckets.
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
  """How rows are divided into chunks; static."""

  buckets: tuple[int, ...]
  num_tokens: int
  num_outputs: int


class _Weights(NamedTuple):
  """What all rows share; with gradient."""

  encoder: Any
  heads: Any
  table: Float[Array, 'places D']  # Tokens of all texts and images.


class _Fixed(NamedTuple):
  """What each row has; without gradient."""

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
  """Returns the total loss and values of pairs, as `Engine.loss` does.

  See `packed.engine` for the requirements on the loss.

  Args:
    row_losses: see `Engine.loss`. Rows that are not needed have constants of 0
      and must have a loss of 0. The gradients with respect to heads and encoder
      are accumulated once per chunk.
    model: the network.
    params: see `Engine.loss`.
    heads: see `Engine.loss`.
    texts: see `Engine.loss`.
    images: see `Engine.loss`.
    rows: see `Engine.loss`.
    dropout_key: see `Engine.loss`.
    buckets: length buckets, static; see `chunks.length_buckets`.
    num_tokens: maximum number of tokens per chunk.
    num_outputs: see `Engine.loss`.
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
    chunk = _take(fixed, rows)
    is_real = chunk.is_needed & (rows < num_rows)
    constants = targets.zero_others(is_real, chunk.constants)
    reads_all = (
      None if chunk.reads_all is None else jnp.any(chunk.reads_all & is_real)
    )
    joined, mask = pair_tokens.join_rows(weights.table, chunk.pairs, layout)

    def loss(
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
        dropout_keys=chunk.keys,
        reads_all=reads_all,
      )
      return row_losses(heads, states, inputs, constants)

    arguments = (weights.encoder, weights.heads, joined, _take(inputs, rows))
    if sums is None:
      return *loss(*arguments), None
    total, pull_back, values = jax.vjp(loss, *arguments, has_aux=True)

    def add(sums: Any) -> Any:
      d_weights, d_inputs = sums
      # Created here, the cotangent is a constant to the compiler.
      *of_weights, d_joined, of_inputs = pull_back(jnp.ones_like(total))
      encoder, heads = jax.tree.map(
        jnp.add, (d_weights.encoder, d_weights.heads), tuple(of_weights)
      )
      places, _ = pair_tokens.places(chunk.pairs, layout)
      table = d_weights.table.at[places].add(
        jnp.where(mask[:, None], d_joined, 0).astype(d_weights.table.dtype),
        mode='drop',
      )
      return (
        _Weights(encoder, heads, table),
        _store(d_inputs, rows, of_inputs),
      )

    # Passing the sums through the branch lets it add in place.
    return total, values, jax.lax.cond(total != 0, add, lambda x: x, sums)

  def body(carry: Any) -> Any:
    start, total, values, sums = carry
    rows, layout, following = chunks.next_chunk(
      plan, start, cut.buckets, cut.num_tokens
    )
    chunk_loss, chunk_values, sums = run(rows, layout, sums)
    return (
      following,
      total + chunk_loss,
      _store(values, rows, chunk_values),
      sums,
    )

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
    # Sums over many rows: at least float32, whatever the network's dtype.
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
  """Returns rows by index; an index beyond the last returns the last."""
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
  # An empty array carries the table's dtype: residuals must be arrays.
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
