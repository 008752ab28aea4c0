"""Counts the FLOP of an update's work, for model FLOP utilization (MFU).

MFU divides the rate of required FLOP by the device's peak, so only a higher
speed raises it. See `engines.work` for what is counted and `models.flop` for
what is omitted.
"""

import jax
import jax.numpy as jnp

from tagsdc_jax import settings
from tagsdc_jax.engines import work
from tagsdc_jax.models import flop


def gflop(model: settings.Model, needed: work.Work) -> jax.Array:
  """Returns the GFLOP of a micro-batch's work, float32 []."""
  per_row = jnp.where(
    needed.outputs == 1,
    flop.encoder(model, needed.lengths, 1),
    flop.encoder(model, needed.lengths, needed.outputs),
  )
  per_row += flop.pooled(model) * needed.is_pooled
  per_row = jnp.where(needed.lengths > 0, per_row * needed.passes, 0)
  return 1e-9 * (
    jnp.sum(per_row)
    + flop.word(model) * needed.words
    + flop.regions(model, jnp.asarray(needed.regions))
  )
