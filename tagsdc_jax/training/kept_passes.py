"""The positive and its hardest negatives, run with gradient and dropout."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays
from tagsdc_jax.negatives import generating
from tagsdc_jax.scoring import scorer
from tagsdc_jax.training import candidates, passes


@struct.dataclass
class Kept:
  """Sigmoid matching scores, float32, and what the word losses read."""
  positive: jax.Array  # [B]
  images: jax.Array  # [B, H], the caption with hard images
  texts: jax.Array  # [B, H], hard texts with the image
  sentences: jax.Array  # [B, H], generated sentences with the image
  states: jax.Array  # float [B, H, 1 or L, D], of the generated sentences


def run_kept(task: passes.Task, params: Any, batch: arrays.MicroBatch,
             generated: generating.Generated, hardest: candidates.Hardest,
             dropout_key: jax.Array) -> Kept:
  """Returns the scores of everything that the triplet losses compare.

  Every text and image is embedded once, with one draw of dropout, for all
  pairs that it stands in.

  Args:
    task: network and settings; the phase decides whether words are read.
    params: parameters.
    batch: positives and pools.
    generated: refilled sentences.
    hardest: which candidates were kept.
    dropout_key: PRNG key, used once.
  """
  text_key, image_key, pair_key, sentence_key = jax.random.split(
      dropout_key, 4)
  own_texts, own_images = _kept_inputs(batch, generated, hardest)
  num_positives, num_hard = hardest.images.shape
  length = own_texts.token_ids.shape[-1]
  flat_texts, flat_images = jax.tree.map(
      lambda x: x.reshape(-1, *x.shape[2:]), (own_texts, own_images))
  embedded_texts = scorer.Embedded(
      passes.embed_text(task, params, flat_texts.token_ids, text_key),
      flat_texts.num_tokens)
  embedded_images = scorer.Embedded(
      passes.embed_image(task, params, flat_images, image_key),
      flat_images.num_regions)

  def encode(text_places: jax.Array, image_places: jax.Array,
             is_needed: jax.Array, key: jax.Array,
             num_outputs: int) -> jax.Array:
    """Takes places [n] among a positive's texts and images."""
    first = jnp.arange(num_positives)[:, None]
    states = passes.encode_pairs(
        task, params, embedded_texts, embedded_images,
        (first * (1 + 2 * num_hard) + text_places[None]).reshape(-1),
        (first * (1 + num_hard) + image_places[None]).reshape(-1),
        is_needed.reshape(-1), key, num_outputs=num_outputs)
    return states.reshape(num_positives, -1, *states.shape[1:])

  # Texts: own, H retrieved, H generated. Images: own, H retrieved.
  own, others = jnp.zeros(num_hard, jnp.int32), 1 + jnp.arange(num_hard)
  text_places = jnp.concatenate([own[:1], own, others, num_hard + others])
  image_places = jnp.concatenate([own[:1], others, own, own])
  num_retrieved = 1 + 2 * num_hard
  is_needed = jnp.concatenate([
      jnp.ones((num_positives, num_retrieved), bool), hardest.is_filled], 1)
  if task.settings.phase == 'dc':  # Reads all words of the sentences.
    states = encode(text_places[:num_retrieved], image_places[:num_retrieved],
                    is_needed[:, :num_retrieved], pair_key, 1)
    sentences = encode(
        text_places[num_retrieved:], image_places[num_retrieved:],
        hardest.is_filled, sentence_key, length)
    probs = jnp.concatenate([passes.match_probs(task, params, x)
                             for x in (states, sentences)], axis=1)
  else:
    states = encode(text_places, image_places, is_needed, pair_key, 1)
    sentences = states[:, num_retrieved:]
    probs = passes.match_probs(task, params, states)
  by_kind = jnp.split(probs[:, 1:], 3, axis=1)
  return Kept(probs[:, 0], by_kind[0], by_kind[1], by_kind[2], sentences)


def _kept_inputs(batch: arrays.MicroBatch, generated: generating.Generated,
                 hardest: candidates.Hardest
                 ) -> tuple[arrays.Texts, arrays.Images]:
  """Returns texts [B, 1 + 2H, ...] and images [B, 1 + H, ...]."""
  sentences = arrays.Texts(
      generating.take_rows(generated.token_ids, hardest.sentences),
      jnp.repeat(batch.texts.num_tokens[:, None], hardest.sentences.shape[1],
                 axis=1))

  def join(*parts: Any) -> Any:
    return jax.tree.map(
        lambda own, *others: jnp.concatenate([own[:, None], *others], axis=1),
        *parts)

  def pick(pool: Any, indices: jax.Array) -> Any:
    return jax.tree.map(lambda x: x[indices], pool)

  return (join(batch.texts, pick(batch.pool_texts, hardest.texts), sentences),
          join(batch.images, pick(batch.pool_images, hardest.images)))
