"""Encoder states of many pairs with gradient, in proportion to real tokens."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.scoring import queue, scorer


class _Cut(NamedTuple):
  """How the work is cut; static."""
  widths: tuple[int, ...]
  chunk: int
  num_outputs: int


class _Inputs(NamedTuple):
  """What no gradient flows to."""
  pairs: scorer.Pairs  # [M]
  is_needed: jax.Array  # bool [M]
  keys: jax.Array  # PRNG keys [M]


def encode_pairs(model: RetrievalModel, params: Any, texts: scorer.Embedded,
                 images: scorer.Embedded, text_rows: jax.Array,
                 image_rows: jax.Array, is_needed: jax.Array,
                 dropout_key: jax.Array, *, widths: Sequence[int],
                 chunk: int, num_outputs: int) -> jax.Array:
  """Runs the encoder on pairs with dropout; differentiable.

  The backward pass computes each chunk anew instead of keeping its
  activations, and leaves out the rows that no gradient comes from: a triplet
  within its margin costs nothing there. A row's dropout is a function of its
  number, however the work is cut.

  Args:
    model: the network.
    params: its parameters; those of the encoder get a gradient.
    texts: embedded texts; their states get a gradient.
    images: embedded images; as well.
    text_rows: int32 [M], which text each pair takes.
    image_rows: int32 [M], which image.
    is_needed: bool [M]; other pairs cost nothing and give zeros.
    dropout_key: PRNG key, used once.
    widths: static length classes, see `queue.length_widths`.
    chunk: pairs at once.
    num_outputs: how many leading states are wanted, of text then regions.
  Returns:
    float [M, num_outputs, D].
  """
  numbers = jnp.arange(text_rows.shape[0])
  inputs = _Inputs(
      scorer.make_pairs(texts, images, text_rows, image_rows), is_needed,
      jax.vmap(lambda i: jax.random.fold_in(dropout_key, i))(numbers))
  return _encode(model, _Cut(tuple(widths), chunk, num_outputs),
                 params['encoder'], scorer.stack(texts, images), inputs)


def _encode_chunk(model: RetrievalModel, cut: _Cut, encoder: Any,
                  joined: jax.Array, mask: jax.Array,
                  keys: jax.Array) -> jax.Array:
  """Returns float [chunk, num_outputs, D], zeros beyond the row's width."""
  num_outputs = min(cut.num_outputs, joined.shape[1])
  states = retrieval.apply(model, {'encoder': encoder}, 'encode', joined, mask,
                           num_outputs=num_outputs, dropout_key=keys)
  return _pad_tokens(states, cut.num_outputs)


def _pad_tokens(x: jax.Array, width: int) -> jax.Array:
  return jnp.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0)))


def _take_keys(keys: jax.Array, rows: jax.Array) -> jax.Array:
  return keys[jnp.minimum(rows, keys.shape[0] - 1)]


def _forward(model: RetrievalModel, cut: _Cut, encoder: Any, table: jax.Array,
             inputs: _Inputs) -> jax.Array:
  def run(width: int, rows: jax.Array) -> jax.Array:
    return _encode_chunk(model, cut, encoder,
                         *scorer.join(table, inputs.pairs.take(rows), width),
                         _take_keys(inputs.keys, rows))

  return queue.run_queue(run, inputs.pairs.lengths, inputs.is_needed,
                         widths=cut.widths, chunk=cut.chunk)


_encode = jax.custom_vjp(_forward, nondiff_argnums=(0, 1))


def _encode_fwd(model: RetrievalModel, cut: _Cut, encoder: Any,
                table: jax.Array, inputs: _Inputs) -> tuple[jax.Array, Any]:
  return (_forward(model, cut, encoder, table, inputs),
          (encoder, table, inputs))


def _encode_bwd(model: RetrievalModel, cut: _Cut, residuals: Any,
                d_states: jax.Array) -> tuple[Any, jax.Array, None]:
  encoder, table, inputs = residuals
  is_active = inputs.is_needed & jnp.any(d_states != 0, axis=(1, 2))
  plan = queue.make_plan(inputs.pairs.lengths, is_active, cut.widths,
                         cut.chunk)

  def pull_back(width: int, rows: jax.Array) -> tuple[Any, jax.Array]:
    joined, mask = scorer.join(table, inputs.pairs.take(rows), width)
    run = functools.partial(_encode_chunk, model, cut, mask=mask,
                            keys=_take_keys(inputs.keys, rows))
    _, pull = jax.vjp(run, encoder, joined)
    # Rows that fill up the chunk get cotangent 0.
    d_encoder, d_joined = pull(d_states.at[rows].get(
        mode='fill', fill_value=0))
    return d_encoder, _pad_tokens(d_joined, cut.widths[-1])

  def body(i: jax.Array, carry: tuple[Any, jax.Array]
           ) -> tuple[Any, jax.Array]:
    rows, (d_encoder, d_joined) = queue.run_chunk(
        plan, i, pull_back, cut.widths, cut.chunk)
    places, mask = scorer.places(inputs.pairs.take(rows), cut.widths[-1])
    d_joined = jnp.where(mask[..., None], d_joined, 0).astype(carry[1].dtype)
    return (jax.tree.map(jnp.add, carry[0], d_encoder),
            carry[1].at[places].add(d_joined, mode='drop'))

  # Sums of many rows: float32 at least, whatever the network computes in.
  d_table = jnp.zeros(table.shape, jnp.promote_types(table.dtype, jnp.float32))
  d_encoder, d_table = jax.lax.fori_loop(
      0, plan.num_chunks, body,
      (jax.tree.map(jnp.zeros_like, encoder), d_table))
  return d_encoder, d_table.astype(table.dtype), None


_encode.defvjp(_encode_fwd, _encode_bwd)
