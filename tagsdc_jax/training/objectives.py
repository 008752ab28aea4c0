"""What each phase minimises: one micro-batch -> loss and its parts.

Pure functions of (parameters, micro-batch, keys). `objective` picks one; the
train step knows nothing else of phases.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays
from tagsdc_jax.engines.packed import scorer
from tagsdc_jax.losses import combining, ranking, words
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import generating, masking
from tagsdc_jax.training import (candidates, kept_passes, keys, mfu, parts,
                                 passes, word_passes)

Metrics = parts.Metrics
Objective = Callable[[Any, arrays.MicroBatch, keys.MicroBatchKeys],
                     tuple[jax.Array, Metrics]]

# Parameters that a phase never trains: no gradient, no decay, no moments.
UNTRAINED = {
    'pretrain': ('rank_output', 'disc_output', 'correction_output',
                 'region_mask_embedding'),
    'tags': ('itm_output', 'disc_output', 'correction_output',
             'region_mask_embedding'),
    'dc': ('itm_output', 'region_mask_embedding'),
}


def make_objective(task: passes.Task) -> Objective:
  """Returns the objective of the settings' phase."""
  function = {'pretrain': _pretraining, 'tags': _tailored,
              'dc': _tailored}[task.settings.phase]
  return lambda params, batch, batch_keys: function(task, params, batch,
                                                    batch_keys)


def _pretraining(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                 batch_keys: keys.MicroBatchKeys
                 ) -> tuple[jax.Array, Metrics]:
  """MLM, and image-text matching against other images of the batch."""
  config = task.settings.negatives
  mlm_key, text_key, image_key, encoder_key = jax.random.split(
      batch_keys.dropout, 4)
  masked = masking.mask_tokens(
      batch_keys.mask, batch.texts.token_ids, batch.phrase_counts,
      num_copies=config.num_copies, mask_rate=config.mask_rate,
      mask_id=task.mask_id, random_range=task.random_range)
  no_samples = jnp.zeros((*masked.is_target.shape, 0, 2))
  mlm, *_ = word_passes.predict_masked(task, params, batch, masked,
                                       no_samples, mlm_key)

  partners = in_batch_partners(batch_keys.pairing,
                               batch.texts.num_tokens.shape[0],
                               config.num_in_batch)
  rows = jnp.concatenate([jnp.arange(len(partners))[:, None], partners], 1)
  text = passes.embed_text(task, params, batch.texts.token_ids, text_key)
  image = passes.embed_image(task, params, batch.images, image_key)
  lengths = jnp.broadcast_to(batch.texts.num_tokens[:, None], rows.shape)
  states = passes.encode(
      task, params,
      scorer.Embedded(jnp.repeat(text[:, None], rows.shape[1], 1), lengths),
      scorer.Embedded(image[rows], batch.images.num_regions[rows]),
      num_outputs=1, dropout_key=encoder_key)
  logits = retrieval.apply(
      task.model, params, 'itm_logits',
      states.reshape(-1, *states.shape[2:])).reshape(*rows.shape, 2)
  is_match = jnp.arange(rows.shape[1])[None] == 0
  losses = ranking.matching_loss(logits, jnp.broadcast_to(is_match,
                                                          rows.shape))
  is_other = batch.image_numbers[rows] != batch.image_numbers[:, None]
  # Positive and negatives weigh the same, however many there are.
  matching = 0.5 * (losses[:, 0]
                    + words.masked_mean(losses[:, 1:], is_other[:, 1:], 1))
  is_right = (jnp.argmax(logits, -1) == 1) == is_match
  loss_parts = {'matching': matching, 'mlm': mlm}
  is_counted = is_match | is_other
  return combining.combine_losses(
      loss_parts, task.settings.losses), parts.metrics(
          loss_parts, matching_accuracy=words.masked_mean(
              is_right.astype(jnp.float32), is_counted, (0, 1)),
          gflop_per_positive=mfu.of_matching(
              task, batch, masked.is_target, rows, is_counted))


def in_batch_partners(key: jax.Array, batch: int,
                      num_partners: int) -> jax.Array:
  """Returns distinct other rows for each row, int32 [B, num_partners].

  Row b meets rows b + shift for distinct random shifts, so that every image
  is a negative equally often.
  """
  shifts = 1 + jax.random.permutation(key, batch - 1)[:num_partners]
  return (jnp.arange(batch)[:, None] + shifts[None]) % batch


def _tailored(task: passes.Task, params: Any, batch: arrays.MicroBatch,
              batch_keys: keys.MicroBatchKeys) -> tuple[jax.Array, Metrics]:
  """TAGS (stage 1), and DC (stage 2) on top; METHOD.md 2."""
  config = task.settings
  mlm_key, kept_key = jax.random.split(batch_keys.dropout)
  generated = generating.generate(
      batch_keys.mask, batch_keys.refill, batch,
      lambda masked, uniforms: word_passes.predict_masked(
          task, params, batch, masked, uniforms, mlm_key),
      config.negatives, mask_id=task.mask_id, random_range=task.random_range)
  hardest, logits = candidates.choose_hardest(task, params, batch, generated)
  kept_total, kept = kept_passes.run_kept(task, params, batch, generated,
                                          hardest, logits, kept_key)
  mlm = {'mlm': generated.mlm_loss}
  images, texts, sentences = jnp.unstack(kept.losses.triplets > 0, axis=1)
  has_gradient = mfu.HasGradient(images, hardest.is_other & texts,
                                 hardest.is_filled & sentences)
  return kept_total + combining.combine_losses(
      mlm, config.losses), parts.metrics(
          kept.parts | mlm, **parts.sentence_metrics(
              generated, hardest, kept.positive, kept.sentences),
          gflop_per_positive=mfu.of_negatives(
              task, batch, generated, hardest, has_gradient))
