"""Parts of the loss that both training steps compute alike."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays
from tagsdc_jax.losses import words
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import generating
from tagsdc_jax.training import candidates, passes, word_passes

Metrics = dict[str, jax.Array]


@struct.dataclass
class Words:
  """What the word losses compare, of the kept sentences [B, H, L]."""
  token_ids: jax.Array  # int32
  captions: jax.Array  # int32
  is_token: jax.Array  # bool, real words of a filled sentence
  is_target: jax.Array  # bool, those of them that had been masked


def words_of(task: passes.Task, batch: arrays.MicroBatch,
             generated: generating.Generated,
             hardest: candidates.Hardest) -> Words:
  """Returns the words of the kept sentences and of their captions.

  Args:
    task: network and settings.
    batch: the captions.
    generated: what was made of them.
    hardest: which of it was kept.
  """
  token_ids = generating.take_rows(generated.token_ids, hardest.sentences)
  filled = hardest.is_filled[..., None]
  copies = hardest.sentences // task.settings.negatives.num_samples
  is_token = arrays.length_mask(batch.texts.num_tokens[:, None],
                                token_ids.shape[-1])
  return Words(
      token_ids, jnp.broadcast_to(batch.texts.token_ids[:, None],
                                  token_ids.shape), is_token & filled,
      generating.take_rows(generated.is_target, copies) & filled)


def word_losses(task: passes.Task, params: Any, states: jax.Array, of: Words,
                weights: tuple[jax.Array, jax.Array],
                cross_entropy: words.CrossEntropy
                ) -> tuple[tuple[jax.Array, jax.Array],
                           tuple[jax.Array, jax.Array]]:
  """Returns word discrimination and correction: weighted sums, and losses.

  Args:
    task: network and settings.
    params: parameters; those of `word_heads` do.
    states: float [..., L, D], of kept sentences with their images.
    of: their words, [..., L].
    weights: of both losses, float32 [..., L], 0 where a word does not count.
    cross_entropy: one of `losses.words`.
  Returns:
    float32 [] each, with gradient; float32 [..., L] each, without, correction
    0 off targets.
  """
  losses = task.settings.losses
  disc_logits = retrieval.apply(task.model, params, 'disc_logits', states)
  discrimination = words.discrimination_loss(
      disc_logits, of.token_ids == of.captions,
      replaced_weight=losses.replaced_weight,
      kept_weight=losses.kept_weight, cross_entropy=cross_entropy)
  of_discrimination, of_correction = weights
  total, correction = word_passes.correction_losses(
      task, params, states, of.captions, of.is_target, of_correction,
      cross_entropy)
  return ((jnp.sum(of_discrimination * discrimination), total),
          (jax.lax.stop_gradient(discrimination), correction))


def mean_weights(of: Words) -> tuple[jax.Array, jax.Array]:
  """Returns d `word_means` / d losses, float32 [B, H, L] each."""
  def total(discrimination: jax.Array, correction: jax.Array) -> jax.Array:
    means = word_means(discrimination, correction, of)
    return jnp.sum(means['discrimination'] + means['correction'])

  zeros = jnp.zeros(of.token_ids.shape)
  return jax.grad(total, argnums=(0, 1))(zeros, zeros)


def word_heads(params: Any) -> Any:
  """Returns the parameters of `word_losses`."""
  return word_passes.word_head(params, 'correction_output') | {
      'disc_output': params['disc_output']}


def word_means(discrimination: jax.Array, correction: jax.Array,
               of: Words) -> dict[str, jax.Array]:
  """Returns the parts of the loss made of both, float32 [B] each.

  Args:
    discrimination: float32 [B, H, L].
    correction: float32 [B, H, L].
    of: which of them count.
  """
  return {
      'discrimination': words.masked_mean(discrimination, of.is_token, (1, 2)),
      'correction': words.masked_mean(correction, of.is_target, (1, 2))}


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
