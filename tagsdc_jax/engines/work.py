"""The work that is needed, whoever computes it and how.

What is counted are real tokens of rows that have to be run, once each:
candidates that are scored are valid and distinct, a row whose gradient is zero
(a triplet within its margin) has no backward pass, texts and images are
embedded as often as there are draws of dropout. Not counted is what an engine
does beyond: padding, activations computed again, repetitions, states that
nothing reads. `training.mfu` makes FLOP of it.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Int

from tagsdc_jax.arrays import Array

# A product runs once forward; backward once for its inputs and once for its
# weights. No gradient flows to the region features.
FORWARD, WITH_GRADIENT = 1, 3
REGIONS_WITH_GRADIENT = 2


@struct.dataclass
class Work:
  """Rows of a text and an image, and what is read off them."""

  lengths: Int[Array, 'rows']  # 0 where a row was not needed.
  outputs: Int[Array, 'rows']  # States of the last layer that are read.
  is_pooled: Bool[Array, 'rows']  # Whether a matching score is read.
  passes: Int[Array, 'rows']  # FORWARD or WITH_GRADIENT.
  # Vocabulary-wide predictions, times passes.
  words: Int[Array, ''] | int = 0
  regions: Int[Array, ''] | int = 0  # Regions embedded, times passes.


def rows(
  lengths: Int[Array, '*shape'],
  is_needed: Bool[Array, '*shape'] | bool = True,
  *,
  has_gradient: Bool[Array, '*shape'] | bool = False,
  outputs: Int[Array, '*shape'] | int = 1,
  is_pooled: bool = True,
) -> Work:
  """Returns the work of rows in an array of any shape.

  Args:
    lengths: real tokens and regions.
    is_needed: which of them were run.
    has_gradient: which of them had a backward pass.
    outputs: states that are read; 1 for [CLS] alone.
    is_pooled: whether a matching score is read.
  """
  passes = jnp.where(has_gradient, WITH_GRADIENT, FORWARD)
  flat = lambda x: jnp.broadcast_to(jnp.asarray(x), lengths.shape).reshape(-1)
  return Work(
    *map(flat, (jnp.where(is_needed, lengths, 0), outputs, is_pooled, passes))
  )


def join(works: Sequence[Work]) -> Work:
  """Returns all of it together."""
  join_all = lambda name: jnp.concatenate([getattr(one, name) for one in works])
  return Work(
    join_all('lengths'),
    join_all('outputs'),
    join_all('is_pooled'),
    join_all('passes'),
    sum(one.words for one in works),
    sum(one.regions for one in works),
  )
