"""The release's selection of candidates: penalized instead of excluded."""

import jax
import jax.numpy as jnp

from tagsdc_jax import settings
from tagsdc_jax.negatives import filters

# What the release subtracts from a candidate's score; they add up.
EXCLUDED_PENALTY, REPEATED_PENALTY = 3.0, 2.0
# Moves a score below all others, yet preserves the order among these rows.
_LEFT_OUT = 1e4


def is_repeated(candidates: jax.Array, *, last_copy: bool) -> jax.Array:
  """Returns whether an equal candidate is used instead, bool [B, G].

  Args:
    candidates: int32 [B, G, L].
    last_copy: whether the last of equal candidates is used (as in the release),
      not the first.
  """
  if not last_copy:
    return filters.is_repeated(candidates)
  return filters.is_repeated(candidates[:, ::-1])[:, ::-1]


def penalties(is_excluded: jax.Array, is_repeated: jax.Array) -> jax.Array:
  """Returns what to subtract from the scores, float32 of the same shape.

  Args:
    is_excluded: bool, e.g. whether the candidate is the caption itself.
    is_repeated: bool, whether an equal candidate is used instead.
  """
  return EXCLUDED_PENALTY * is_excluded.astype(
    jnp.float32
  ) + REPEATED_PENALTY * is_repeated.astype(jnp.float32)


def choose(
  scores: jax.Array,
  is_excluded: jax.Array,
  is_repeated: jax.Array,
  num_hard: int,
  quirks: settings.Quirks,
) -> tuple[jax.Array, jax.Array]:
  """Returns the hardest candidates, selected as the quirks say.

  Args:
    scores: float32 [B, G], logits or probabilities.
    is_excluded: bool [B, G].
    is_repeated: bool [B, G].
    num_hard: H <= G.
    quirks: `penalties` and `fill_up` are used.
  Returns:
    indices int32 [B, H], hardest first, and is_filled bool [B, H], which of
    them count in the loss.
  """
  is_clean = ~is_excluded & ~is_repeated
  below = (
    penalties(is_excluded, is_repeated)
    if quirks.penalties
    else jnp.where(is_clean, 0.0, _LEFT_OUT)
  )
  _, indices = jax.lax.top_k(scores - below, num_hard)
  if quirks.fill_up:
    return indices, jnp.ones(indices.shape, bool)
  return indices, jnp.take_along_axis(is_clean, indices, axis=1)
