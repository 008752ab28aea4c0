"""The work that a loss needs, whatever engine computes it.

Counts the real tokens of rows that must run, once each: scored candidates are
valid and distinct; a row whose gradient is zero (a triplet beyond its margin)
has no backward pass; texts and images are embedded once per dropout draw. Does
not count what an engine does in addition: padding, recomputed activations,
repetitions, states that are never read. `training.mfu` converts work to FLOPs.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Int

from tagsdc_jax.arrays import Array

# A matrix product runs once forward and twice backward, for its inputs and for
# its weights. Region features need no gradient.
FORWARD, WITH_GRADIENT = 1, 3
REGIONS_WITH_GRADIENT = 2


@struct.dataclass
class Work:
  """Rows of tokens, and which of their outputs are read."""

  lengths: Int[Array, 'rows']  # 0 for rows that are not needed.
  outputs: Int[Array, 'rows']  # Number of last-layer states read.
  is_pooled: Bool[Array, 'rows']  # Whether its matching score is read.
  passes: Int[Array, 'rows']  # FORWARD or WITH_GRADIENT.
  # Number of vocabulary-wide predictions, times passes.
  words: Int[Array, ''] | int = 0
  regions: Int[Array, ''] | int = 0  # Embedded, times passes.


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
    lengths: number of real tokens and regions.
    is_needed: which rows run.
    has_gradient: which of them have a backward pass.
    outputs: number of last-layer states read; 1 for [CLS] alone.
    is_pooled: whether a matching score is read.
  """
  passes = jnp.where(has_gradient, WITH_GRADIENT, FORWARD)
  flat = lambda x: jnp.broadcast_to(jnp.asarray(x), lengths.shape).reshape(-1)
  return Work(
    *map(flat, (jnp.where(is_needed, lengths, 0), outputs, is_pooled, passes))
  )


def join(works: Sequence[Work]) -> Work:
  """Returns the combined work."""
  join_all = lambda name: jnp.concatenate([getattr(one, name) for one in works])
  return Work(
    join_all('lengths'),
    join_all('outputs'),
    join_all('is_pooled'),
    join_all('passes'),
    sum(one.words for one in works),
    sum(one.regions for one in works),
  )
