"""The TAGS source: masks words of a caption and refills them with other words.

The refills come from the language head of the matcher that is being trained.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.engines import work
from tagsdc_jax.negatives import (
  joint_refill,
  masked_words,
  masking,
  refilling,
  source,
)


def mask_refill(inputs: source.Inputs) -> source.Sentences:
  """Returns K * S generated sentences per caption, with the MLM loss."""
  mlm, sentences = write(inputs, inputs.params, has_gradient=True)
  return dataclasses.replace(sentences, losses={'mlm': mlm})


def write(
  inputs: source.Inputs, params: Any, *, has_gradient: bool
) -> tuple[Float[Array, ''], source.Sentences]:
  """Returns the MLM loss, and K * S generated sentences per caption.

  Args:
    inputs: inputs of the source.
    params: parameters that write, with gradient through the MLM loss.
    has_gradient: whether the MLM loss is trained, which counts as work.
  """
  engine, batch, dropout_key = inputs.engine, inputs.batch, inputs.keys.dropout
  config = engine.task.settings.negatives
  masked, uniforms = draw(engine.task, batch, inputs.keys)
  mlm, _, sampled = masked_words.predict(
    engine, params, batch, masked, uniforms, dropout_key
  )
  works = [
    masked_words.work_of(batch, masked.is_target, has_gradient=has_gradient)
  ]
  if config.refill_rounds > 1:
    sampled = joint_refill.redraw(
      engine, params, batch, masked, uniforms, sampled, dropout_key
    )
    works.append(
      joint_refill.work_of(
        batch,
        masked.is_target,
        num_rounds=config.refill_rounds,
        num_samples=config.num_samples,
      )
    )
  return mlm, dataclasses.replace(
    refilled(batch, masked.is_target, sampled), work=work.join(works)
  )


def draw(
  task: engines.Task, batch: arrays.MicroBatch, keys: source.Keys
) -> tuple[masking.MaskedText, Float[Array, 'B K L S 2']]:
  """Returns masked captions, and the uniform numbers for sampling refills.

  Args:
    task: provides mask rate, K, S, masking unit and token ids.
    batch: captions and their phrases.
    keys: PRNG keys, of which `mask` and `refill` are used.
  """
  config = task.settings.negatives
  masked = masking.mask_tokens(
    keys.mask,
    batch.texts.token_ids,
    masking.units(config.unit, batch),
    num_copies=config.num_copies,
    mask_rate=config.mask_rate,
    mask_id=task.mask_id,
    random_range=task.random_range,
  )
  uniforms = refilling.draw_uniforms(
    keys.refill, masked.is_target.size, config.num_samples
  )
  return masked, uniforms.reshape(*masked.is_target.shape, -1, 2)


def refilled(
  batch: arrays.MicroBatch,
  is_target: Bool[Array, 'B K L'],
  sampled: Int[Array, 'B K L S'],
) -> source.Sentences:
  """Returns the captions with refilled words at the targets.

  Args:
    batch: the captions.
    is_target: which words are refilled.
    sampled: the new words; read at targets only.
  Returns:
    K * S sentences per caption, ordered by copy, then by sample.
  """
  captions, num_samples = batch.texts, sampled.shape[-1]
  token_ids = refilling.refill(captions.token_ids, is_target, sampled)
  shape = token_ids.shape
  return source.Sentences(
    token_ids,
    jnp.broadcast_to(captions.num_tokens[:, None], shape[:2]),
    jnp.ones(shape[:2], bool),
    jnp.repeat(is_target, num_samples, axis=1),
    jnp.broadcast_to(captions.token_ids[:, None], shape),
  )


MASK_REFILL = source.Source('mask_refill', mask_refill, trains=('mlm_output',))
