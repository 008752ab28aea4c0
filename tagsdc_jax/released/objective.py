"""Stages 1 and 2 as the release computes them, one positive at a time.

For comparisons with the release: every quirk of the settings' first group can
be switched on here, and with none on it minimises what the fast step does.
Every candidate is scored, padded to one width, in passes of their own per
loss; nothing is shared and nothing skipped. The work that it logs is what the
fast step would need.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays
from tagsdc_jax.losses import combining, words
from tagsdc_jax.negatives import generating, selecting
from tagsdc_jax.released import pairs, selection
from tagsdc_jax.training import (candidates, keys, mfu, objectives, parts,
                                 passes, word_passes)

_LEAST_PROB = 1e-10


def make_objective(task: passes.Task) -> objectives.Objective:
  """Returns stage 1 or 2, whichever is the settings' phase."""
  return functools.partial(tailored, task)


def tailored(task: passes.Task, params: Any, batch: arrays.MicroBatch,
             batch_keys: keys.MicroBatchKeys
             ) -> tuple[jax.Array, parts.Metrics]:
  """Returns the loss of one positive and its parts.

  Args:
    task: network and settings.
    params: parameters.
    batch: one positive; or two, the second for the retrieved texts' loss.
    batch_keys: keys of the micro-batch.
  """
  config = task.settings.negatives
  mlm_key, loss_key = jax.random.split(batch_keys.dropout)
  own = positive_of(batch, 0)
  generated = generating.generate(
      batch_keys.mask, batch_keys.refill, own,
      lambda masked, uniforms: word_passes.predict_masked(
          task, params, own, masked, uniforms, mlm_key),
      config, mask_id=task.mask_id, random_range=task.random_range)
  return losses_of(task, params, batch, generated, loss_key)


def losses_of(task: passes.Task, params: Any, batch: arrays.MicroBatch,
              generated: generating.Generated, dropout_key: jax.Array
              ) -> tuple[jax.Array, parts.Metrics]:
  """As `tailored`, of sentences that are made already ([1, G, L])."""
  image_key, text_key, sentence_key = jax.random.split(dropout_key, 3)
  own = positive_of(batch, 0)
  images = rank_images(task, params, own, image_key)
  texts = rank_texts(task, params, positive_of(batch, -1), text_key)
  loss_parts, metrics, sentences = sentence_parts(task, params, own, generated,
                                                  sentence_key)
  loss_parts |= {'text_to_image': jnp.mean(images.losses, keepdims=True),
                 'image_to_text': words.masked_mean(
                     texts.losses[None], texts.is_filled[None], 1)}
  hardest = candidates.Hardest(
      images.indices[None], texts.indices[None], sentences.indices[None],
      sentences.is_filled[None], texts.is_filled[None])
  has_gradient = mfu.HasGradient(
      *(((ranked.losses > 0) & ranked.is_filled)[None]
        for ranked in (images, texts, sentences)))
  gflop = mfu.of_negatives(task, own, generated, hardest, has_gradient)
  return combining.combine_losses(
      loss_parts, task.settings.losses), parts.metrics(
          loss_parts, **metrics, gflop_per_positive=gflop)


def sentence_parts(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                   generated: generating.Generated, dropout_key: jax.Array
                   ) -> tuple[dict[str, jax.Array], parts.Metrics,
                              pairs.Ranked]:
  """Returns the parts made of refilled sentences, float32 [1] each.

  Args:
    task: network and settings.
    params: parameters.
    batch: one positive.
    generated: its sentences, [1, G, L].
    dropout_key: PRNG key, used once.
  Returns:
    L_syn and L_mlm (float32 []), in stage 2 the word losses too; what is
    logged; and the ranking.
  """
  rank_key, word_key = jax.random.split(dropout_key)
  ranked, rows = rank_sentences(task, params, batch, generated, rank_key)
  indices, is_filled = ranked.indices[None], ranked.is_filled[None]
  hardest = candidates.Hardest(indices, indices, indices, is_filled, is_filled)
  loss_parts = {
      'synthetic': words.masked_mean(ranked.losses[None], hardest.is_filled,
                                     1),
      'mlm': generated.mlm_loss}
  if task.settings.phase == 'dc':
    states = pairs.encode(
        task, params, pairs.take(rows, 1 + ranked.indices),
        num_outputs=generated.token_ids.shape[-1], dropout_key=word_key)
    of = parts.words_of(task, batch, generated, hardest)
    totals, _ = parts.word_losses(
        task, params, states[None], of, parts.mean_weights(of),
        clamped_word_loss if task.settings.quirks.clamped_words
        else words.word_loss)
    loss_parts |= dict(zip(('discrimination', 'correction'), totals,
                           strict=True))
  return loss_parts, parts.sentence_metrics(
      generated, hardest, ranked.probs[:1], ranked.probs[None, 1:]), ranked


def clamped_word_loss(logits: jax.Array, token_ids: jax.Array) -> jax.Array:
  """As `words.word_loss`, but no more than 23.03, and without gradient there.

  Reference: the release's stage 2, which takes the logarithm of
  max(softmax, 1e-10).
  """
  probs = jax.nn.softmax(logits.astype(jnp.float32))
  own = jnp.take_along_axis(probs, token_ids[..., None], axis=-1)[..., 0]
  return -jnp.log(jnp.maximum(own, _LEAST_PROB))


def positive_of(batch: arrays.MicroBatch, row: int) -> arrays.MicroBatch:
  """Returns the micro-batch with one of its positives only."""
  one = lambda tree: jax.tree.map(lambda x: x[row][None], tree)
  return dataclasses.replace(
      batch, texts=one(batch.texts), images=one(batch.images),
      phrase_counts=one(batch.phrase_counts),
      references=one(batch.references),
      caption_numbers=one(batch.caption_numbers),
      image_numbers=one(batch.image_numbers))


def rank_images(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                dropout_key: jax.Array) -> pairs.Ranked:
  """Returns the caption with its image against the pool's images (L_t)."""
  pool = jnp.ones(batch.pool_images.num_regions.shape, bool)
  return pairs.rank(task, params, image_rows(batch),
                    _hardest_of(task, pool), dropout_key)


def image_rows(batch: arrays.MicroBatch) -> pairs.Rows:
  """Returns the caption with its own image, then with the pool's."""
  return pairs.pair_rows(
      batch.texts, _with_pool(batch.images, batch.pool_images))


def rank_texts(task: passes.Task, params: Any, batch: arrays.MicroBatch,
               dropout_key: jax.Array) -> pairs.Ranked:
  """Returns the image with its caption against the pool's texts (L_i)."""
  return pairs.rank(task, params, text_rows(task, batch),
                    _hardest_of(task, valid_texts(task, batch)), dropout_key)


def valid_texts(task: passes.Task, batch: arrays.MicroBatch) -> jax.Array:
  """Returns which texts of the pool may be negatives, bool [N]."""
  is_other = candidates.other_texts(batch)[0]
  return is_other | task.settings.quirks.equal_texts


def text_rows(task: passes.Task,
              batch: arrays.MicroBatch) -> pairs.Rows:
  """Returns the image with its own caption, then with the pool's."""
  start = (batch.pool_texts.num_tokens[-1]
           if task.settings.quirks.last_text_offset else None)
  return pairs.pair_rows(
      _with_pool(batch.texts, batch.pool_texts), batch.images, start)


def rank_sentences(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                   generated: generating.Generated, dropout_key: jax.Array
                   ) -> tuple[pairs.Ranked, pairs.Rows]:
  """Returns the caption against its refilled sentences (L_syn), and the rows.

  Args:
    task: network and settings.
    params: parameters.
    batch: one positive.
    generated: its sentences, [1, G, L].
    dropout_key: PRNG key, used once.
  """
  quirks, sentences = task.settings.quirks, generated.token_ids
  is_excluded = selecting.IS_EXCLUDED[task.settings.negatives.exclude](
      sentences, batch.texts.token_ids, batch.references)
  is_repeated = selection.is_repeated(sentences, last_copy=quirks.last_copy)
  token_ids = jnp.concatenate([batch.texts.token_ids, sentences[0]])
  rows = pairs.pair_rows(
      arrays.Texts(token_ids, jnp.broadcast_to(batch.texts.num_tokens,
                                               token_ids.shape[:1])),
      batch.images)
  if quirks.first_word_positive:
    rows = pairs.first_word_only(rows)

  def choose(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Stage 2 of the release takes its penalties off probabilities.
    scores = logits if task.settings.phase == 'tags' else jax.nn.sigmoid(logits)
    indices, is_filled = selection.choose(
        scores[None], is_excluded, is_repeated,
        task.settings.negatives.num_hard, quirks)
    return indices[0], is_filled[0]

  return pairs.rank(task, params, rows, choose, dropout_key), rows


def _hardest_of(task: passes.Task,
                is_valid: jax.Array) -> pairs.Choose:
  def choose(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    indices, is_filled = selecting.select_hardest(
        logits[None], is_valid[None], task.settings.negatives.num_hard)
    return indices[0], is_filled[0]
  return choose


def _with_pool(own: Any, pool: Any) -> Any:
  return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), own, pool)
