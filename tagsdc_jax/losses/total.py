"""The weighted sum of a phase's losses."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def weighted_sum(
  losses: Mapping[str, jax.Array], weights: Mapping[str, float]
) -> jax.Array:
  """Returns the total, float32 [].

  Args:
    losses: name -> loss per positive, float32 [B], or their mean, [].
    weights: name -> weight; one for every loss.
  """
  return sum(
    (weights[name] * jnp.mean(loss) for name, loss in losses.items()),
    start=jnp.float32(0),
  )
