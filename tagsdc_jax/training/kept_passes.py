"""The positive and its hardest negatives, run with gradient and dropout."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays
from tagsdc_jax.engines.packed import loss_and_grad, scorer
from tagsdc_jax.negatives import generating
from tagsdc_jax.training import candidates, kept_losses, parts, passes


@struct.dataclass
class Kept:
  """Sigmoid matching scores and what became of them, float32; no gradient."""
  positive: jax.Array  # [B]
  sentences: jax.Array  # [B, H]
  losses: kept_losses.Losses
  parts: dict[str, jax.Array]  # name -> [B], of the loss


def run_kept(task: passes.Task, params: Any, batch: arrays.MicroBatch,
             generated: generating.Generated, hardest: candidates.Hardest,
             logits: jax.Array, dropout_key: jax.Array
             ) -> tuple[jax.Array, Kept]:
  """Returns what the kept negatives contribute to the loss, and its parts.

  Every text and image is embedded once, with one draw of dropout, for all
  pairs that it stands in. The positives run first, as every loss needs them.

  Args:
    task: network and settings; the phase decides whether words are read.
    params: parameters.
    batch: positives and pools.
    generated: refilled sentences.
    hardest: which candidates were kept.
    logits: float32 [B, 3, H], their scores without dropout: they tell which
      triplets are likely to have a gradient. No result depends on them.
    dropout_key: PRNG key, used once.
  Returns:
    The weighted sum of the parts, float32 [], with gradient; and the rest.
  """
  text_key, image_key, own_key, pair_key = jax.random.split(dropout_key, 4)
  texts, images = _embed(task, params, batch, generated, hardest, text_key,
                         image_key)
  num_positives, num_hard = hardest.images.shape
  own = lambda x: x.reshape(num_positives, -1, *x.shape[1:])[:, 0]
  positive = passes.match_probs(task, params, passes.encode(
      task, params, jax.tree.map(own, texts), jax.tree.map(own, images),
      num_outputs=1, dropout_key=own_key))

  text_rows, image_rows = _places(num_positives, num_hard)
  is_needed = jnp.stack([jnp.ones_like(hardest.is_other), hardest.is_other,
                         hardest.is_filled], axis=1)
  positives = jnp.broadcast_to(positive[:, None, None], is_needed.shape)
  is_likely = (jax.nn.sigmoid(logits) + task.settings.losses.margin
               > positives)
  of = (parts.words_of(task, batch, generated, hardest)
        if task.settings.phase == 'dc' else None)
  weights = kept_losses.weights(task, hardest, of)
  heads, num_outputs = passes.match_head(params), 1
  of_words = reads_all = None
  if of is not None:
    # All words of the sentences are read, so each sentence has a gradient.
    is_likely = is_likely.at[:, 2].set(True)
    reads_all = jnp.zeros(is_needed.shape, bool).at[:, 2].set(True)
    heads |= parts.word_heads(params)
    num_outputs = batch.texts.token_ids.shape[-1]
    of_words = jax.tree.map(
        lambda x: jnp.zeros((*is_needed.shape, *x.shape[2:]),
                            x.dtype).at[:, 2].set(x), (of, *weights.words))
  flat = lambda x: x.reshape(-1, *x.shape[3:])
  rows = loss_and_grad.Rows(*jax.tree.map(flat, (
      text_rows, image_rows, is_needed, is_likely, positives,
      (weights.triplets, of_words), reads_all)))
  total, values = passes.sum_losses(
      task, functools.partial(kept_losses.row_losses, task), params, heads,
      texts, images, rows, pair_key, num_outputs=num_outputs)
  probs, triplets, found = jax.tree.map(
      lambda x: x.reshape(*is_needed.shape, *x.shape[1:]), values)
  losses = kept_losses.Losses(triplets, tuple(x[:, 2] for x in found))
  return total, jax.lax.stop_gradient(Kept(
      positive, probs[:, 2], losses,
      kept_losses.loss_parts(losses, hardest, of)))


def _places(num_positives: int,
            num_hard: int) -> tuple[jax.Array, jax.Array]:
  """Returns which text and image each pair takes, int32 [B, 3, H] both.

  Pairs: hard images, hard texts, sentences. A positive's texts are its own, H
  retrieved, H generated ones; its images its own and H retrieved ones.
  """
  others = 1 + jnp.arange(num_hard, dtype=jnp.int32)
  own = jnp.zeros_like(others)
  first = jnp.arange(num_positives, dtype=jnp.int32)[:, None, None]
  return (first * (1 + 2 * num_hard)
          + jnp.stack([own, others, num_hard + others])[None],
          first * (1 + num_hard) + jnp.stack([others, own, own])[None])


def _embed(task: passes.Task, params: Any, batch: arrays.MicroBatch,
           generated: generating.Generated, hardest: candidates.Hardest,
           text_key: jax.Array, image_key: jax.Array
           ) -> tuple[scorer.Embedded, scorer.Embedded]:
  """Returns B * (1 + 2H) texts and B * (1 + H) images, with dropout."""
  texts, images = jax.tree.map(
      lambda x: x.reshape(-1, *x.shape[2:]),
      _kept_inputs(batch, generated, hardest))
  return (
      scorer.Embedded(passes.embed_text(task, params, texts.token_ids,
                                        text_key), texts.num_tokens),
      scorer.Embedded(passes.embed_image(task, params, images, image_key),
                      images.num_regions))


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
