"""Stages 1 and 2 as the release computes them, one positive at a time.

For comparisons with the release: the first group of `settings.Quirks` can be
switched on here; with all of them off, the objective equals the fast step's.
Each loss scores all its candidates in separate passes, padded to one length;
nothing is shared or skipped. The logged work is what the fast step would need.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays, settings
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.engines.work import Work
from tagsdc_jax.losses import pair_losses, total, words
from tagsdc_jax.models import heads
from tagsdc_jax.negatives import (
  candidates,
  filters,
  masked_words,
  mining,
  retrieved,
  source,
)
from tagsdc_jax.objectives import count_work, selected_pairs
from tagsdc_jax.objectives import parts as parts_of
from tagsdc_jax.released import pair_rows, selection
from tagsdc_jax.training import step
from tagsdc_jax.training.keys import MicroBatchKeys

_LEAST_PROB = 1e-10


def loss(
  engine: Engine,
  params: Any,
  start_params: Any,
  batch: arrays.MicroBatch,
  batch_keys: MicroBatchKeys,
) -> tuple[jax.Array, tuple[step.Metrics, Work]]:
  """Returns the loss of one positive, its metrics, and its work.

  Args:
    engine: runs the network.
    params: parameters.
    start_params: not used.
    batch: one positive; or two, the second for the loss of retrieved texts.
    batch_keys: keys of the micro-batch.
  """
  source_key, loss_key = jax.random.split(batch_keys.dropout)
  parts = parts_of.of_settings(engine.task.settings)
  table, proposed = candidates.propose(
    parts.sources,
    source.Inputs(
      engine,
      params,
      start_params,
      positive_of(batch, 0),
      source.Keys(batch_keys.mask, batch_keys.refill, source_key),
    ),
  )
  sentences = proposed[2].sentences
  assert sentences is not None  # See settings.checks.
  total_loss, metrics, ranked = losses_of(
    engine, params, batch, sentences, sentences.losses['mlm'], loss_key
  )
  selected = _selected(proposed, ranked)
  of_words = (
    mining.words_of(table, proposed, selected)
    if engine.task.settings.phase == 'dc'
    else None
  )
  values = {'triplet': jnp.stack([one.losses for one in ranked])[None]}
  return total_loss, (
    metrics | {'mask_refill_valid': jnp.mean(proposed[2].is_valid)},
    count_work.of_negatives(
      table, proposed, selected, parts.losses, values, of_words
    ),
  )


def losses_of(
  engine: Engine,
  params: Any,
  batch: arrays.MicroBatch,
  sentences: source.Sentences,
  mlm: jax.Array,
  dropout_key: jax.Array,
) -> tuple[jax.Array, step.Metrics, tuple[pair_rows.Ranked, ...]]:
  """Returns the loss, its metrics, and the three rankings.

  Args:
    engine: runs the network.
    params: parameters.
    batch: as for `loss`.
    sentences: of the first positive, [1, G, L].
    mlm: float32 [], L_mlm.
    dropout_key: PRNG key, used once.
  """
  image_key, text_key, sentence_key = jax.random.split(dropout_key, 3)
  own = positive_of(batch, 0)
  images = rank_images(engine, params, own, image_key)
  texts = rank_texts(engine, params, positive_of(batch, -1), text_key)
  losses, metrics, ranked = sentence_losses(
    engine, params, own, sentences, sentence_key
  )
  losses = {
    'triplet_images': jnp.mean(images.losses, keepdims=True),
    'triplet_texts': words.masked_mean(
      texts.losses[None], texts.is_filled[None], 1
    ),
    **losses,
    'mlm': mlm,
  }
  weights = parts_of.of_settings(engine.task.settings).weights
  return (
    total.weighted_sum(losses, weights),
    step.means(losses, **metrics),
    (images, texts, ranked),
  )


def sentence_losses(
  engine: Engine,
  params: Any,
  batch: arrays.MicroBatch,
  sentences: source.Sentences,
  dropout_key: jax.Array,
) -> tuple[dict[str, jax.Array], step.Metrics, pair_rows.Ranked]:
  """Returns the losses of refilled sentences, float32 [1] each.

  Args:
    engine: runs the network.
    params: parameters.
    batch: one positive.
    sentences: [1, G, L].
    dropout_key: PRNG key, used once.
  Returns:
    L_syn, in stage 2 also the word losses; metrics; and the ranking.
  """
  rank_key, word_key = jax.random.split(dropout_key)
  ranked, rows = rank_sentences(engine, params, batch, sentences, rank_key)
  filled = ranked.is_filled[None]
  losses = {
    'triplet_mask_refill': words.masked_mean(ranked.losses[None], filled, 1)
  }
  if engine.task.settings.phase == 'dc':
    of = words_of(batch, sentences, ranked)
    states = pair_rows.encode(
      engine,
      params,
      pair_rows.take(rows, 1 + ranked.indices),
      num_outputs=of.token_ids.shape[-1],
      dropout_key=word_key,
    )[None]
    for one in word_losses_of(engine.task.settings):
      losses[f'{one.name}_mask_refill'], _ = word_loss(
        engine, params, one, states, of, filled
      )
  is_below = (ranked.probs[1:] < ranked.probs[0]).astype(jnp.float32)
  return (
    losses,
    {
      'mask_refill_filled': jnp.mean(filled),
      'mask_refill_targets': jnp.mean(jnp.sum(sentences.is_target, axis=-1)),
      'mask_refill_accuracy': words.masked_mean(is_below, ranked.is_filled, 0),
    },
    ranked,
  )


def words_of(
  batch: arrays.MicroBatch,
  sentences: source.Sentences,
  ranked: pair_rows.Ranked,
) -> pair_losses.Words:
  """Returns the words of the selected sentences, [1, H, L]."""
  take = lambda x: x[:, ranked.indices]
  filled = ranked.is_filled[None, :, None]
  is_token = arrays.length_mask(
    batch.texts.num_tokens[:, None], sentences.token_ids.shape[-1]
  )
  return pair_losses.Words(
    take(sentences.token_ids),
    take(sentences.originals),
    is_token & filled,
    take(sentences.is_target) & filled,
  )


def word_losses_of(
  config: settings.Settings,
) -> tuple[pair_losses.PairLoss, pair_losses.PairLoss]:
  """Returns word discrimination and correction, clamped if the settings say."""
  cross_entropy = (
    clamped_word_loss if config.quirks.clamped_words else words.word_loss
  )
  return (
    pair_losses.discrimination_of(config, cross_entropy),
    pair_losses.correction_of(config, cross_entropy),
  )


def word_loss(
  engine: Engine,
  params: Any,
  one: pair_losses.PairLoss,
  states: jax.Array,
  of: pair_losses.Words,
  is_filled: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Returns the mean loss over the words that count, and the loss of each word.

  Args:
    engine: runs the heads.
    params: parameters.
    one: a loss of words.
    states: float [1, H, L, D].
    of: words of the selected sentences, [1, H, L].
    is_filled: bool [1, H].
  Returns:
    float32 [1], with gradient; float32 [1, H, L], without gradient.
  """
  mean = lambda x: pair_losses.mean_per_positive(one, x, is_filled, of)
  weights = jax.grad(lambda x: jnp.sum(mean(x)))(jnp.zeros(of.token_ids.shape))

  losses = functools.partial(selected_pairs.position_losses, engine, one)
  constants = (of.token_ids, of.originals, weights)
  if not one.only_targets:
    total_loss, values = losses(params, states, constants)
  else:
    total_loss, values = masked_words.at_positions(
      engine,
      losses,
      heads.parameters(params, one.heads),
      states,
      constants,
      of.is_target,
    )
  return total_loss[None], jax.lax.stop_gradient(values)


def clamped_word_loss(logits: jax.Array, token_ids: jax.Array) -> jax.Array:
  """Like `words.word_loss`, but at most 23.03, with no gradient at that value.

  Reference: the release's stage 2, which takes the logarithm of
  max(softmax, 1e-10).
  """
  probs = jax.nn.softmax(logits.astype(jnp.float32))
  own = jnp.take_along_axis(probs, token_ids[..., None], axis=-1)[..., 0]
  return -jnp.log(jnp.maximum(own, _LEAST_PROB))


def positive_of(batch: arrays.MicroBatch, row: int) -> arrays.MicroBatch:
  """Returns the micro-batch with only one of its positives."""
  one = lambda tree: jax.tree.map(lambda x: x[row][None], tree)
  return dataclasses.replace(
    batch,
    texts=one(batch.texts),
    images=one(batch.images),
    phrase_counts=one(batch.phrase_counts),
    phrase_kinds=one(batch.phrase_kinds),
    references=one(batch.references),
    caption_numbers=one(batch.caption_numbers),
    image_numbers=one(batch.image_numbers),
  )


def rank_images(
  engine: Engine, params: Any, batch: arrays.MicroBatch, dropout_key: jax.Array
) -> pair_rows.Ranked:
  """Returns the ranking of the caption's image against the pool's (L_t)."""
  pool = jnp.ones(batch.pool_images.num_regions.shape, bool)
  return pair_rows.rank(
    engine, params, image_rows(batch), _hardest_of(engine, pool), dropout_key
  )


def image_rows(batch: arrays.MicroBatch) -> pair_rows.Rows:
  """Returns pairs of the caption with its own image, then with the pool's."""
  return pair_rows.pair_rows(
    batch.texts, _with_pool(batch.images, batch.pool_images)
  )


def rank_texts(
  engine: Engine, params: Any, batch: arrays.MicroBatch, dropout_key: jax.Array
) -> pair_rows.Ranked:
  """Returns the ranking of the image's caption against the pool's (L_i)."""
  quirks = engine.task.settings.quirks
  return pair_rows.rank(
    engine,
    params,
    text_rows(quirks, batch),
    _hardest_of(engine, valid_texts(quirks, batch)),
    dropout_key,
  )


def valid_texts(quirks: settings.Quirks, batch: arrays.MicroBatch) -> jax.Array:
  """Returns which texts of the pool may be negatives, bool [N]."""
  return retrieved.other_texts(batch)[0] | quirks.equal_texts


def text_rows(
  quirks: settings.Quirks, batch: arrays.MicroBatch
) -> pair_rows.Rows:
  """Returns pairs of the image with its own caption, then with the pool's."""
  start = batch.pool_texts.num_tokens[-1] if quirks.last_text_offset else None
  return pair_rows.pair_rows(
    _with_pool(batch.texts, batch.pool_texts), batch.images, start
  )


def rank_sentences(
  engine: Engine,
  params: Any,
  batch: arrays.MicroBatch,
  sentences: source.Sentences,
  dropout_key: jax.Array,
) -> tuple[pair_rows.Ranked, pair_rows.Rows]:
  """Returns the ranking of the caption and its refills (L_syn), and the rows.

  Args:
    engine: runs the network.
    params: parameters.
    batch: one positive.
    sentences: [1, G, L].
    dropout_key: PRNG key, used once.
  """
  config, token_ids = engine.task.settings, sentences.token_ids
  is_excluded = filters.IS_EXCLUDED[config.negatives.exclude](
    token_ids, batch.texts.token_ids, batch.references
  )
  is_repeated = selection.is_repeated(
    token_ids, last_copy=config.quirks.last_copy
  )
  every = jnp.concatenate([batch.texts.token_ids, token_ids[0]])
  rows = pair_rows.pair_rows(
    arrays.Texts(
      every, jnp.broadcast_to(batch.texts.num_tokens, every.shape[:1])
    ),
    batch.images,
  )
  if config.quirks.first_word_positive:
    rows = pair_rows.first_word_only(rows)

  def choose(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Stage 2 of the release subtracts its penalties from probabilities.
    scores = logits if config.phase == 'tags' else jax.nn.sigmoid(logits)
    indices, is_filled = selection.choose(
      scores[None],
      is_excluded,
      is_repeated,
      config.negatives.num_hard,
      config.quirks,
    )
    return indices[0], is_filled[0]

  return pair_rows.rank(engine, params, rows, choose, dropout_key), rows


def _selected(
  proposed: tuple[candidates.Candidates, ...],
  ranked: tuple[pair_rows.Ranked, ...],
) -> mining.Selected:
  """Returns the selected negatives in the fast step's form."""
  found = [
    mining.Selected(
      one.indices[None],
      own.text_rows[:, one.indices],
      own.image_rows[:, one.indices],
      one.is_filled[None],
      one.match_logits[1:][one.indices][None],
    )
    for own, one in zip(proposed, ranked, strict=True)
  ]
  return jax.tree.map(lambda *x: jnp.stack(x, axis=1), *found)


def _hardest_of(engine: Engine, is_valid: jax.Array) -> pair_rows.Choose:
  def choose(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    indices, is_filled = mining.select_hardest(
      logits[None], is_valid[None], engine.task.settings.negatives.num_hard
    )
    return indices[0], is_filled[0]

  return choose


def _with_pool(own: Any, pool: Any) -> Any:
  return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), own, pool)
