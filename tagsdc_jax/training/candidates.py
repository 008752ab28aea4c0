"""Scores all candidate negatives of a micro-batch and keeps the hardest."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays
from tagsdc_jax.engines.packed import scorer
from tagsdc_jax.negatives import generating, selecting
from tagsdc_jax.training import passes


@struct.dataclass
class Hardest:
  """Indices of the kept negatives, hardest first."""
  images: jax.Array  # int32 [B, H] into the pool's images
  texts: jax.Array  # int32 [B, H] into the pool's texts
  sentences: jax.Array  # int32 [B, H] into the generated sentences
  is_filled: jax.Array  # bool [B, H]: the sentence is a valid negative
  is_other: jax.Array  # bool [B, H]: the text is a valid negative


def choose_hardest(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                   generated: generating.Generated
                   ) -> tuple[Hardest, jax.Array]:
  """Scores the three candidate sets in one queue and keeps H of each.

  Without dropout and without gradient. Texts and images are embedded once
  and shared by all pairs that they stand in.

  Args:
    task: network and settings.
    params: parameters; no gradient flows to them.
    batch: positives and pools.
    generated: refilled sentences; invalid ones are never scored.
  Returns:
    Which are kept; and their raw scores float32 [B, 3, H]: images, texts,
    sentences, anything where not filled.
  """
  params = jax.lax.stop_gradient(params)
  num_hard = task.settings.negatives.num_hard
  num_positives, num_sentences = generated.is_valid.shape
  pool = batch.pool_texts.num_tokens.shape[0]

  texts = _embed_texts(task, params, batch, generated.token_ids)
  images = jax.tree.map(lambda a, b: jnp.concatenate([a, b]),
                        batch.images, batch.pool_images)
  embedded_images = scorer.Embedded(passes.embed_image(task, params, images),
                                    images.num_regions)
  own = jnp.arange(num_positives, dtype=jnp.int32)[:, None]
  others = num_positives + jnp.arange(pool, dtype=jnp.int32)[None]
  sentences = (num_positives + pool + own * num_sentences
               + jnp.arange(num_sentences, dtype=jnp.int32)[None])
  blocks = ((own, others), (others, own), (sentences, own))
  widths = (pool, pool, num_sentences)

  def side(which: int) -> jax.Array:
    return jnp.concatenate(
        [jnp.broadcast_to(block[which], (num_positives, width)).reshape(-1)
         for block, width in zip(blocks, widths)])

  # Images of the pool are all different; their captions need not be.
  same_text = first_equal_texts(batch.pool_texts)
  every = jnp.ones((num_positives, pool), bool)
  is_other = other_texts(batch)
  is_scored = (every, is_other & (same_text == jnp.arange(pool))[None],
               generated.is_valid)
  logits = scorer.score_pairs(
      task.model, params, texts, embedded_images, side(0), side(1),
      jnp.concatenate([s.reshape(-1) for s in is_scored]), widths=task.widths,
      num_tokens=task.settings.compute.score_tokens)
  of_images, of_texts, of_sentences = (
      part.reshape(num_positives, -1) for part in jnp.split(
          logits, (num_positives * pool, 2 * num_positives * pool)))
  scores = (of_images, of_texts[:, same_text], of_sentences)
  picked = [selecting.select_hardest(of, is_valid, num_hard)
            for of, is_valid in zip(scores,
                                    (every, is_other, generated.is_valid),
                                    strict=True)]
  kept = [jnp.take_along_axis(of, indices, axis=1)
          for of, (indices, _) in zip(scores, picked, strict=True)]
  return (Hardest(picked[0][0], picked[1][0], *picked[2], picked[1][1]),
          jnp.stack(kept, axis=1))


def other_texts(batch: arrays.MicroBatch) -> jax.Array:
  """Returns which texts of the pool may be negatives, bool [B, N].

  People say the same of different pictures: a caption of another image that
  equals one of the image's own is true of it.

  Args:
    batch: positives with all captions of their images, and the pool.
  """
  return ~selecting.is_reference(batch.pool_texts.token_ids[None],
                                 batch.references)


def first_equal_texts(texts: arrays.Texts) -> jax.Array:
  """Returns the number of the first text that equals each, int32 [N]."""
  return selecting.first_equal(jnp.concatenate(
      [texts.token_ids, texts.num_tokens[:, None]], axis=1))


def _embed_texts(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                 sentences: jax.Array) -> scorer.Embedded:
  """Embeds positives, pool and generated sentences, in this order."""
  num_sentences = sentences.shape[1]
  ids = jnp.concatenate([
      batch.texts.token_ids, batch.pool_texts.token_ids,
      sentences.reshape(-1, sentences.shape[-1])])
  lengths = jnp.concatenate([
      batch.texts.num_tokens, batch.pool_texts.num_tokens,
      jnp.repeat(batch.texts.num_tokens, num_sentences)])
  return scorer.Embedded(passes.embed_text(task, params, ids), lengths)
