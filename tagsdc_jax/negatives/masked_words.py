"""Runs masked captions with their images: the MLM loss, and sampled words."""

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
from tagsdc_jax.losses import words
from tagsdc_jax.models import heads
from tagsdc_jax.negatives import masking, refilling


def predict(
  engine: engines.Engine,
  params: Any,
  batch: arrays.MicroBatch,
  masked: masking.MaskedText,
  uniforms: Float[Array, 'B K L S 2'],
  dropout_key: Key[Array, ''],
) -> tuple[Float[Array, ''], Float[Array, 'B K L'], Int[Array, 'B K L S']]:
  """Returns the MLM loss, its values per target, and sampled words.

  One pass, with dropout, serves both the MLM loss and the refills. Logits are
  computed at targets only, one chunk of targets at a time.

  Args:
    engine: runs the network.
    params: parameters.
    batch: the captions and images.
    masked: the masked copies.
    uniforms: random numbers for sampling, see `refilling.sample_tokens`.
    dropout_key: used once.
  Returns:
    L_mlm, a mean over each caption's targets, then over captions, with
    gradient; its values per word, without gradient and zero at other
    positions; and sampled tokens.
  """
  text_key, image_key, encoder_key = jax.random.split(dropout_key, 3)
  num_positives, num_copies, length = masked.token_ids.shape

  def repeat(x: Shaped[Array, 'B ...']) -> Shaped[Array, 'B K ...']:
    return jnp.repeat(x[:, None], num_copies, axis=1)

  texts = engine.embed_text(
    params,
    arrays.Texts(
      masked.token_ids.reshape(-1, length),
      repeat(batch.texts.num_tokens).reshape(-1),
    ),
    text_key,
  )
  images = engine.embed_image(params, batch.images, image_key)
  labels = repeat(batch.texts.token_ids)
  weights = jax.grad(
    lambda losses: jnp.mean(words.masked_mean(losses, masked.is_target, (1, 2)))
  )(jnp.zeros(labels.shape))
  every = jnp.ones(num_positives * num_copies, bool)
  flat = lambda x: x.reshape(len(every), *x.shape[2:])
  rows = engines.Rows(
    jnp.arange(len(every)),
    flat(repeat(jnp.arange(num_positives))),
    every,
    every,
    (),
    jax.tree.map(flat, (labels, uniforms, masked.is_target, weights)),
  )
  total, (losses, sampled) = engine.loss(
    functools.partial(_row_losses, engine),
    params,
    heads.parameters(params, ('mlm_output',)),
    texts,
    images,
    rows,
    encoder_key,
    num_outputs=length,
  )
  like = lambda x: x.reshape(num_positives, num_copies, *x.shape[1:])
  return total, like(losses), like(sampled)


def work_of(
  batch: arrays.MicroBatch,
  is_target: Bool[Array, 'B K L'],
  *,
  has_gradient: bool,
) -> work.Work:
  """Returns the work of `predict`.

  Args:
    batch: captions and images.
    is_target: which words are predicted.
    has_gradient: whether L_mlm is trained.
  """
  tokens, regions = batch.texts.num_tokens, batch.images.num_regions
  shape = is_target.shape[:2]
  rows = work.rows(
    jnp.broadcast_to((tokens + regions)[:, None], shape),
    is_pooled=False,
    has_gradient=has_gradient,
    outputs=jnp.broadcast_to(tokens[:, None], shape),
  )
  return dataclasses.replace(
    rows,
    words=jnp.sum(is_target)
    * (work.WITH_GRADIENT if has_gradient else work.FORWARD),
    regions=jnp.sum(regions)
    * (work.REGIONS_WITH_GRADIENT if has_gradient else work.FORWARD),
  )


def _row_losses(
  engine: engines.Engine,
  head: Any,
  states: Float[Array, 'rows L D'],
  inputs: tuple,
  constants: Any,
) -> tuple[Float[Array, ''], Any]:
  """Returns the share of some rows in L_mlm; see `engine.RowLosses`."""
  del inputs
  labels, uniforms, is_target, weights = constants

  def read(
    head: Any, hidden: Float[Array, 'positions D'], rows: Any
  ) -> tuple[Float[Array, ''], Any]:
    label, uniform, weight = rows
    logits = engine.read(head, 'mlm_logits', hidden)
    losses = words.word_loss(logits, label)
    return jnp.sum(weight * losses), (
      losses,
      refilling.sample_tokens(
        uniform,
        jax.lax.stop_gradient(logits),
        engine.task.settings.negatives.temperature,
      ),
    )

  return at_positions(
    engine, read, head, states, (labels, uniforms, weights), is_target
  )


def at_positions(
  engine: engines.Engine,
  losses: engines.PositionLosses,
  head: Any,
  states: Float[Array, '*words D'],
  constants: Any,
  is_target: Bool[Array, '*words'],
) -> tuple[Float[Array, ''], Any]:
  """Calls `Engine.position_losses` on arrays with any leading axes."""
  leading = is_target.shape
  flat = lambda x: x.reshape(is_target.size, *x.shape[len(leading) :])
  total, values = engine.position_losses(
    losses, head, flat(states), jax.tree.map(flat, constants), flat(is_target)
  )
  return total, jax.tree.map(
    lambda x: x.reshape(*leading, *x.shape[1:]), values
  )
