"""The TAGS source: masks words of a caption and refills them with other words.

The refills come from the language head of the matcher that is being trained.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.negatives import masked_words, masking, refilling, source


def mask_refill(inputs: source.Inputs) -> source.Sentences:
  """Returns K * S generated sentences per caption, with the MLM loss."""
  masked, uniforms = draw(inputs.engine.task, inputs.batch, inputs.keys)
  mlm, _, sampled = masked_words.predict(
    inputs.engine,
    inputs.params,
    inputs.batch,
    masked,
    uniforms,
    inputs.keys.dropout,
  )
  return dataclasses.replace(
    refilled(inputs.batch, masked.is_target, sampled),
    losses={'mlm': mlm},
    work=masked_words.work_of(
      inputs.batch, masked.is_target, has_gradient=True
    ),
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
