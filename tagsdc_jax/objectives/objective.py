"""What the train step minimizes: one micro-batch -> loss, metrics, work."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays
from tagsdc_jax.engines import work
from tagsdc_jax.training import keys

Metrics = dict[str, jax.Array]

# (params, start_params, batch, keys) -> (loss float32 [], (metrics, work));
# start_params are those that the phase began with, None if nobody asks.
Objective = Callable[[Any, Any, arrays.MicroBatch, keys.MicroBatchKeys],
                     tuple[jax.Array, tuple[Metrics, work.Work]]]


def means(losses: Metrics, **others: Any) -> Metrics:
  """Returns means over the micro-batch, float32 [] each, no gradient.

  Losses are called `loss/NAME`; by that the page finds those of any phase.
  """
  found = {f'loss/{name}': jnp.mean(loss) for name, loss in losses.items()}
  return jax.lax.stop_gradient(
      found | {name: jnp.float32(x) for name, x in others.items()})
