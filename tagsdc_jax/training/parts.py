"""Parts of the loss that both training steps compute alike."""

from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays
from tagsdc_jax.losses import words
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import generating
from tagsdc_jax.training import candidates, passes

Metrics = dict[str, jax.Array]


def word_parts(task: passes.Task, params: Any, batch: arrays.MicroBatch,
               generated: generating.Generated, hardest: candidates.Hardest,
               states: jax.Array, cross_entropy: words.CrossEntropy
               ) -> dict[str, jax.Array]:
  """Word discrimination and correction per positive, float32 [B] each.

  Args:
    task: network and settings.
    params: parameters.
    batch: the captions.
    generated: what was made of them.
    hardest: which of it was kept.
    states: float [B, H, L, D], of the kept sentences with their images.
    cross_entropy: one of `losses.words`.
  """
  config = task.settings
  captions = batch.texts.token_ids[:, None]
  token_ids = generating.take_rows(generated.token_ids, hardest.sentences)
  filled = hardest.is_filled[..., None]
  is_token = arrays.length_mask(batch.texts.num_tokens[:, None],
                                token_ids.shape[-1])
  copies = hardest.sentences // config.negatives.num_samples
  is_target = generating.take_rows(generated.is_target, copies) & filled
  disc_logits = retrieval.apply(task.model, params, 'disc_logits', states)
  disc_losses = words.discrimination_loss(
      disc_logits, token_ids == captions,
      replaced_weight=config.losses.replaced_weight,
      kept_weight=config.losses.kept_weight, cross_entropy=cross_entropy)
  correction = passes.correction_losses(
      task, params, states, jnp.broadcast_to(captions, token_ids.shape),
      is_target, cross_entropy)
  return {
      'discrimination': words.masked_mean(disc_losses, is_token & filled,
                                          (1, 2)),
      'correction': words.masked_mean(correction, is_target, (1, 2)),
  }


def metrics(parts: dict[str, jax.Array], **others: jax.Array) -> Metrics:
  """Returns means over the micro-batch, float32 [] each."""
  means = {name: jnp.mean(loss) for name, loss in parts.items()}
  return jax.lax.stop_gradient(
      means | {name: jnp.float32(x) for name, x in others.items()})


def sentence_metrics(generated: generating.Generated,
                     hardest: candidates.Hardest, positive_probs: jax.Array,
                     sentence_probs: jax.Array) -> Metrics:
  """Returns what is logged of the generated negatives, float32 [] each.

  Args:
    generated: all sentences.
    hardest: those kept.
    positive_probs: float32 [B].
    sentence_probs: float32 [B, H], of those kept.
  """
  filled = hardest.is_filled
  below = (sentence_probs < positive_probs[:, None]).astype(jnp.float32)
  return {
      'distinct_sentences': jnp.mean(generated.is_valid),
      'filled_negatives': jnp.mean(filled),
      'targets_per_caption': jnp.sum(generated.is_target) / len(filled),
      'synthetic_accuracy': words.masked_mean(below, filled, (0, 1))}
