"""The positive and its hardest negatives, run with gradient and dropout."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays
from tagsdc_jax.losses import combining, ranking, words
from tagsdc_jax.negatives import generating
from tagsdc_jax.scoring import gradients, scorer
from tagsdc_jax.training import candidates, parts, passes


@struct.dataclass
class Losses:
  """Of the kept negatives, float32, before any mean; no gradient."""
  images: jax.Array  # [B, H], the caption with hard images
  texts: jax.Array  # [B, H], hard texts with the image
  sentences: jax.Array  # [B, H], generated sentences with the image
  # Discrimination and correction [B, H, L] in stage 2, else nothing.
  words: tuple[jax.Array, ...] = ()


@struct.dataclass
class Kept:
  """Sigmoid matching scores and what became of them, float32; no gradient."""
  positive: jax.Array  # [B]
  sentences: jax.Array  # [B, H]
  losses: Losses
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
  text_key, image_key, own_key, pair_key, sentence_key = jax.random.split(
      dropout_key, 5)
  texts, images = _embed(task, params, batch, generated, hardest, text_key,
                         image_key)
  num_positives, num_hard = hardest.images.shape
  own = lambda x: x.reshape(num_positives, -1, *x.shape[1:])[:, 0]
  positive = passes.match_probs(task, params, passes.encode(
      task, params, jax.tree.map(own, texts), jax.tree.map(own, images),
      num_outputs=1, dropout_key=own_key))

  # All [B, 3, H]: hard images, hard texts, sentences. A positive's texts: own,
  # H retrieved, H generated; its images: own, H retrieved.
  shape = (num_positives, 3, num_hard)
  others = 1 + jnp.arange(num_hard)
  none = jnp.zeros_like(others)
  first = jnp.arange(num_positives)[:, None, None]
  text_rows = (first * (1 + 2 * num_hard)
               + jnp.stack([none, others, num_hard + others])[None])
  image_rows = (first * (1 + num_hard)
                + jnp.stack([others, none, none])[None])
  is_needed = jnp.ones(shape, bool).at[:, 2].set(hardest.is_filled)
  positives = jnp.broadcast_to(positive[:, None, None], shape)
  is_likely = (jax.nn.sigmoid(logits) + task.settings.losses.margin
               > positives)
  reads_words = task.settings.phase == 'dc'
  of = (parts.words_of(task, batch, generated, hardest) if reads_words
        else None)
  weights = _weights(task, hardest, of)

  def run(kinds: slice, key: jax.Array, num_outputs: int,
          of_words: Any = None) -> tuple[jax.Array, Any]:
    cut = lambda x: x[:, kinds].reshape(-1)
    triplet_weights = jnp.stack(
        [weights.images, weights.texts, weights.sentences], axis=1)
    rows = gradients.Rows(
        cut(text_rows), cut(image_rows), cut(is_needed),
        cut(is_likely | (of_words is not None)), cut(positives),
        (cut(triplet_weights), jax.tree.map(
            lambda x: x.reshape(-1, *x.shape[2:]), of_words)))
    heads = passes.match_head(params)
    if of_words is not None:
      heads |= parts.word_heads(params)
    total, values = passes.sum_losses(
        task, functools.partial(_row_losses, task), params, heads, texts,
        images, rows, key, num_outputs=num_outputs)
    return total, jax.tree.map(
        lambda x: x.reshape(num_positives, -1, num_hard, *x.shape[1:]),
        values)

  if not reads_words:
    total, (probs, losses, _) = run(slice(0, 3), pair_key, 1)
    found = Losses(losses[:, 0], losses[:, 1], losses[:, 2])
    sentences = probs[:, 2]
  else:
    total, (_, losses, _) = run(slice(0, 2), pair_key, 1)
    more, (probs, triplets, of_words) = run(
        slice(2, 3), sentence_key, batch.texts.token_ids.shape[-1],
        (of, *weights.words))
    total += more
    sentences = probs[:, 0]
    found = Losses(losses[:, 0], losses[:, 1], triplets[:, 0],
                   tuple(x[:, 0] for x in of_words))
  return total, jax.lax.stop_gradient(Kept(
      positive, sentences, found, loss_parts(found, hardest, of)))


def loss_parts(losses: Losses, hardest: candidates.Hardest,
               of: parts.Words | None) -> dict[str, jax.Array]:
  """Returns means per positive, float32 [B]: linear in the losses.

  Args:
    losses: of the kept negatives.
    hardest: which of them there are.
    of: which words count, in stage 2.
  """
  means = {
      'text_to_image': jnp.mean(losses.images, axis=1),
      'image_to_text': jnp.mean(losses.texts, axis=1),
      'synthetic': words.masked_mean(losses.sentences, hardest.is_filled, 1)}
  if of is not None:
    discrimination, correction = losses.words
    means |= parts.word_means(discrimination, correction, of)
  return means


def _weights(task: passes.Task, hardest: candidates.Hardest,
             of: parts.Words | None) -> Losses:
  """Returns d loss / d losses, which is the same whatever they are."""
  triplets = jnp.zeros(hardest.images.shape)
  of_words = () if of is None else 2 * (jnp.zeros(of.token_ids.shape),)
  return jax.grad(lambda losses: combining.combine_losses(
      loss_parts(losses, hardest, of), task.settings.losses))(
          Losses(triplets, triplets, triplets, of_words))


def _row_losses(task: passes.Task, heads: Any, states: jax.Array,
                positive: jax.Array, constants: Any
                ) -> tuple[jax.Array, Any]:
  """A row's share of the loss; see `gradients.RowLosses`."""
  weight, of_words = constants
  probs = passes.match_probs(task, heads, states)
  triplets = ranking.triplet_loss(
      positive, probs[:, None], margin=task.settings.losses.margin)[:, 0]
  total = weight * triplets
  if of_words is None:
    return total, (probs, triplets, ())
  of, *weights = of_words
  found = parts.word_losses(task, heads, states, of, words.word_loss)
  for each, where, losses in zip(weights, (of.is_token, of.is_target), found,
                                 strict=True):
    total += jnp.sum(jnp.where(where, each * losses, 0.0), axis=-1)
  return total, (probs, triplets, found)


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
