"""The weighted sum of a phase's losses."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Float

from tagsdc_jax.arrays import Array


def weighted_sum(
  losses: Mapping[str, Float[Array, 'B'] | Float[Array, '']],
  weights: Mapping[str, float],
) -> Float[Array, '']:
  """Returns the weighted sum of the means over positives.

  Args:
    losses: name -> losses of the positives, or their mean.
    weights: name -> weight, for every loss.
  """
  return sum(
    (weights[name] * jnp.mean(loss) for name, loss in losses.items()),
    start=jnp.float32(0),
  )
