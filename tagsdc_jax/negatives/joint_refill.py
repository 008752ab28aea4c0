"""Joint refilling: adjacent masked words are drawn one after another.

`masked_words.predict` draws all words of a masked copy at once, independently.
With `negatives.refill_rounds` above 1, that is only the first round: it keeps
the words of some targets, which are written in before the others are drawn. The
written words differ between the S samples of a copy, so that each later round
runs up to K * S sentences, without gradient.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key, Shaped

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.engines import work
from tagsdc_jax.models import heads
from tagsdc_jax.negatives import masked_words, masking, refilling

# Added to the number of a round to fold into the dropout key: beyond the splits
# of the first round and the numbers of sources, which are folded in as well.
_FIRST_FOLD = 2**16


def rounds_of(
  is_target: Bool[Array, '*rows L'], num_rounds: int
) -> Int[Array, '*rows L']:
  """Returns the round in which each target is drawn, from 0.

  The targets of a run, without another word in between, take turns: every
  `num_rounds`-th is drawn in the same round. A run may be a phrase, its part,
  or several phrases next to each other.

  Args:
    is_target: which words are masked.
    num_rounds: R, at least 1.
  Returns:
    0 to R - 1; arbitrary at other positions.
  """
  place = jnp.broadcast_to(
    jnp.arange(is_target.shape[-1], dtype=jnp.int32), is_target.shape
  )
  before = jax.lax.cummax(
    jnp.where(is_target, -1, place), axis=is_target.ndim - 1
  )
  return (place - before - 1) % num_rounds


def redraw(
  engine: engines.Engine,
  params: Any,
  batch: arrays.MicroBatch,
  masked: masking.MaskedText,
  uniforms: Float[Array, 'B K L S 2'],
  sampled: Int[Array, 'B K L S'],
  dropout_key: Key[Array, ''],
) -> Int[Array, 'B K L S']:
  """Returns the sampled words after all rounds.

  Targets that are not drawn yet are as they were masked: [MASK], a random word,
  or unchanged. Sentences without a target in a round are not run.

  Args:
    engine: runs the network; its settings have the number of rounds.
    params: parameters; no gradient flows to them.
    batch: the captions and images.
    masked: the masked copies.
    uniforms: random numbers; each target uses its own in its round.
    sampled: the words of the first round, read at its targets only.
    dropout_key: that of the first round; other keys are derived from it.
  """
  num_rounds = engine.task.settings.negatives.refill_rounds
  num_positives, num_copies, length, num_samples = sampled.shape
  num_rows = num_positives * num_copies * num_samples
  params = jax.lax.stop_gradient(params)
  head = heads.parameters(params, ('mlm_output',))

  def by_sample(x: Shaped[Array, 'B K L S ...']) -> Shaped[Array, 'rows L ...']:
    return jnp.moveaxis(x, 3, 2).reshape(num_rows, length, *x.shape[4:])

  def of_copy(x: Shaped[Array, 'B K L']) -> Shaped[Array, 'rows L']:
    return by_sample(jnp.broadcast_to(x[..., None], sampled.shape))

  number = jnp.arange(num_rows, dtype=jnp.int32)
  own = number // (num_copies * num_samples)
  is_target, masked_ids = of_copy(masked.is_target), of_copy(masked.token_ids)
  rounds, uniforms = rounds_of(is_target, num_rounds), by_sample(uniforms)

  def body(
    i: Int[Array, ''] | int, token_ids: Int[Array, 'rows L']
  ) -> Int[Array, 'rows L']:
    text_key, image_key, encoder_key = jax.random.split(
      jax.random.fold_in(dropout_key, _FIRST_FOLD + i), 3
    )
    is_drawn = is_target & (rounds == i)
    is_needed = jnp.any(is_drawn, axis=-1)
    _, words = engine.loss(
      functools.partial(_row_words, engine),
      params,
      head,
      engine.embed_text(
        params, arrays.Texts(token_ids, batch.texts.num_tokens[own]), text_key
      ),
      engine.embed_image(params, batch.images, image_key),
      engines.Rows(number, own, is_needed, is_needed, (), (uniforms, is_drawn)),
      encoder_key,
      num_outputs=length,
    )
    return jnp.where(is_drawn, words, token_ids)

  token_ids = jax.lax.fori_loop(
    1,
    num_rounds,
    body,
    jnp.where(is_target & (rounds == 0), by_sample(sampled), masked_ids),
  )
  return jnp.moveaxis(
    token_ids.reshape(num_positives, num_copies, num_samples, length), 2, 3
  )


def work_of(
  batch: arrays.MicroBatch,
  is_target: Bool[Array, 'B K L'],
  *,
  num_rounds: int,
  num_samples: int,
) -> work.Work:
  """Returns the work of `redraw`: that of all rounds but the first.

  Args:
    batch: captions and images.
    is_target: which words are masked.
    num_rounds: R.
    num_samples: S.
  """
  later = jnp.arange(1, num_rounds, dtype=jnp.int32)[:, None, None, None]
  is_drawn = is_target[None] & (rounds_of(is_target, num_rounds)[None] == later)
  drawn = jnp.sum(is_drawn)
  is_needed = jnp.repeat(jnp.any(is_drawn, axis=-1), num_samples, axis=2)
  tokens, regions = batch.texts.num_tokens, batch.images.num_regions
  of_row = lambda x: jnp.broadcast_to(x[None, :, None], is_needed.shape)
  rows = work.rows(
    of_row(tokens + regions), is_needed, is_pooled=False, outputs=of_row(tokens)
  )
  return dataclasses.replace(
    rows,
    words=num_samples * drawn * work.FORWARD,
    regions=(num_rounds - 1) * jnp.sum(regions) * work.FORWARD,
  )


def _row_words(
  engine: engines.Engine,
  head: Any,
  states: Float[Array, 'rows L D'],
  inputs: tuple,
  constants: Any,
) -> tuple[Float[Array, ''], Int[Array, 'rows L']]:
  """Returns a loss of 0, and the words drawn; see `engine.RowLosses`."""
  del inputs
  uniforms, is_drawn = constants

  def draw(
    head: Any, hidden: Float[Array, 'positions D'], uniforms: Any
  ) -> tuple[Float[Array, ''], Int[Array, 'positions']]:
    words = refilling.sample_tokens(
      uniforms[:, None],
      engine.read(head, 'mlm_logits', hidden),
      engine.task.settings.negatives.temperature,
    )
    return jnp.float32(0), words[:, 0]

  return masked_words.at_positions(
    engine, draw, head, states, uniforms, is_drawn
  )
