"""The paper's static generator: a frozen network refills masked captions."""

import dataclasses

import jax

from tagsdc_jax.negatives import mask_refill, masked_words, source


def static_refill(inputs: source.Inputs) -> source.Sentences:
  """As `mask_refill`, written by the parameters that the phase began with.

  Nothing is trained by it: there is no MLM loss.
  """
  masked, uniforms = mask_refill.draw(
    inputs.engine.task, inputs.batch, inputs.keys
  )
  *_, sampled = masked_words.predict(
    inputs.engine,
    jax.lax.stop_gradient(inputs.start_params),
    inputs.batch,
    masked,
    uniforms,
    inputs.keys.dropout,
  )
  return dataclasses.replace(
    mask_refill.refilled(inputs.batch, masked.is_target, sampled),
    work=masked_words.work_of(
      inputs.batch, masked.is_target, has_gradient=False
    ),
  )


STATIC_REFILL = source.Source('static_refill', static_refill, needs_start=True)
