"""Mask, refill, drop what is no negative: a caption's own hard sentences.

Takes the network as a callable, so that nothing here knows it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays, settings
from tagsdc_jax.negatives import masking, refilling, selecting

# (masked text, uniforms [B, K, L, S, 2]) -> (L_mlm [], MLM losses [B, K, L],
# sampled tokens int32 [B, K, L, S]); the last two are read at targets only.
FillTargets = Callable[[masking.MaskedText, jax.Array],
                       tuple[jax.Array, jax.Array, jax.Array]]


@struct.dataclass
class Generated:
  """All refilled sentences of a micro-batch."""
  token_ids: jax.Array  # int32 [B, G, L]
  is_valid: jax.Array  # bool [B, G]
  is_target: jax.Array  # bool [B, K, L]; sentence g was masked as copy g // S
  mlm_loss: jax.Array  # float32 [], L_mlm, with gradient
  mlm_losses: jax.Array  # float32 [B, K, L], what it is made of, without


def generate(mask_key: jax.Array, refill_key: jax.Array,
             batch: arrays.MicroBatch, fill_targets: FillTargets,
             config: settings.Negatives, *, mask_id: int,
             random_range: tuple[int, int]) -> Generated:
  """Returns K * S sentences per caption and which may be negatives.

  Args:
    mask_key: PRNG key, used once.
    refill_key: PRNG key, used once.
    batch: captions, their phrases, and the captions of their images.
    fill_targets: the language head at masked positions.
    config: K, S, mask rate, which candidates are excluded.
    mask_id: id of [MASK].
    random_range: [low, high) of random replacement tokens.
  """
  masked = masking.mask_tokens(
      mask_key, batch.texts.token_ids, batch.phrase_counts,
      num_copies=config.num_copies, mask_rate=config.mask_rate,
      mask_id=mask_id, random_range=random_range)
  uniforms = refilling.draw_uniforms(
      refill_key, masked.is_target.size, config.num_samples)
  return fill_masked(
      masked, uniforms.reshape(*masked.is_target.shape, -1, 2), batch,
      fill_targets, exclude=config.exclude)


def fill_masked(masked: masking.MaskedText, uniforms: jax.Array,
                batch: arrays.MicroBatch, fill_targets: FillTargets, *,
                exclude: str) -> Generated:
  """As `generate`, of captions that are masked already.

  Args:
    masked: [B, K, L].
    uniforms: float32 [B, K, L, S, 2], what the refills are drawn with.
    batch: captions, and the captions of their images.
    fill_targets: the language head at masked positions.
    exclude: see `selecting.valid_candidates`.
  """
  captions = batch.texts.token_ids
  mlm_loss, mlm_losses, sampled = fill_targets(masked, uniforms)
  candidates = refilling.refill(captions, masked.is_target, sampled)
  is_valid = selecting.valid_candidates(
      candidates, captions, batch.references, exclude=exclude)
  return Generated(candidates, is_valid, masked.is_target, mlm_loss,
                   mlm_losses)


def take_rows(rows: jax.Array, indices: jax.Array) -> jax.Array:
  """Returns rows[b, indices[b]], [B, H, ...], for rows [B, G, ...]."""
  extra = (1,) * (rows.ndim - 2)
  return jnp.take_along_axis(rows, indices.reshape(*indices.shape, *extra),
                             axis=1)
