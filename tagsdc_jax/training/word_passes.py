"""Words that the network reads off captions: masked ones, replaced ones."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays
from tagsdc_jax.engines.packed import loss_and_grad, scorer, targets
from tagsdc_jax.losses import words
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import masking, refilling
from tagsdc_jax.training import passes


def word_head(params: Any, name: str) -> Any:
  """Returns the parameters of a word head, 'mlm_output' for one."""
  return {name: params[name], 'text_embeddings': {
      'word': params['text_embeddings']['word']}}


def predict_masked(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                   masked: masking.MaskedText, uniforms: jax.Array,
                   dropout_key: jax.Array
                   ) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Runs the masked captions with their images and reads the targets.

  One pass, dropout on, serves the MLM loss and the refills (METHOD.md 2).
  Logits exist at targets only, a chunk of them at a time.

  Args:
    task: network and settings.
    params: parameters.
    batch: the captions and images.
    masked: [B, K, L].
    uniforms: float32 [B, K, L, S, 2].
    dropout_key: PRNG key, used once.
  Returns:
    L_mlm float32 [], the mean over a caption's targets, then over captions,
    with gradient; the losses [B, K, L] that it is made of, without, zero where
    no target; sampled tokens int32 [B, K, L, S].
  """
  text_key, image_key, encoder_key = jax.random.split(dropout_key, 3)
  num_positives, num_copies, length = masked.token_ids.shape

  def repeat(x: jax.Array) -> jax.Array:
    return jnp.repeat(x[:, None], num_copies, axis=1)

  text = scorer.Embedded(
      passes.embed_text(task, params, masked.token_ids.reshape(-1, length),
                        text_key), repeat(batch.texts.num_tokens).reshape(-1))
  image = scorer.Embedded(
      passes.embed_image(task, params, batch.images, image_key),
      batch.images.num_regions)
  labels = repeat(batch.texts.token_ids)
  weights = jax.grad(lambda losses: jnp.mean(words.masked_mean(
      losses, masked.is_target, (1, 2))))(jnp.zeros(labels.shape))
  every = jnp.ones(num_positives * num_copies, bool)
  flat = lambda x: x.reshape(len(every), *x.shape[2:])
  rows = loss_and_grad.Rows(
      jnp.arange(len(every)), flat(repeat(jnp.arange(num_positives))), every,
      every, (), jax.tree.map(flat, (labels, uniforms, masked.is_target,
                                     weights)))
  total, (losses, sampled) = passes.sum_losses(
      task, functools.partial(_masked_losses, task), params,
      word_head(params, 'mlm_output'), text, image, rows, encoder_key,
      num_outputs=length)
  like = lambda x: x.reshape(num_positives, num_copies, *x.shape[1:])
  return total, like(losses), like(sampled)


def _masked_losses(task: passes.Task, head: Any, states: jax.Array,
                   inputs: tuple, constants: Any) -> tuple[jax.Array, Any]:
  """Returns what some rows add to L_mlm; see `gradients.RowLosses`."""
  del inputs
  labels, uniforms, is_target, weights = constants

  def read(head: Any, hidden: jax.Array, rows: Any) -> tuple[jax.Array, Any]:
    label, uniform, weight = rows
    logits = retrieval.apply(task.model, head, 'mlm_logits', hidden)
    losses = words.word_loss(logits, label)
    return jnp.sum(weight * losses), (losses, refilling.sample_tokens(
        uniform, jax.lax.stop_gradient(logits),
        task.settings.negatives.temperature))

  return _sum_at_targets(task, read, head, states, (labels, uniforms, weights),
                         is_target)


def correction_losses(task: passes.Task, params: Any, states: jax.Array,
                      labels: jax.Array, is_target: jax.Array,
                      weights: jax.Array, cross_entropy: words.CrossEntropy
                      ) -> tuple[jax.Array, jax.Array]:
  """Returns the word-correction losses' weighted sum, and themselves.

  Args:
    task: network and settings.
    params: parameters.
    states: float [..., L, D], of refilled sentences.
    labels: int32 [..., L], the caption's own tokens.
    is_target: bool [..., L], positions that had been masked.
    weights: float32 [..., L].
    cross_entropy: one of `losses.words`.
  Returns:
    float32 [], with gradient; float32 [..., L], without, zero off targets.
  """
  def read(head: Any, hidden: jax.Array, rows: Any) -> tuple[jax.Array, Any]:
    label, weight = rows
    losses = cross_entropy(retrieval.apply(task.model, head,
                                           'correction_logits', hidden), label)
    return jnp.sum(weight * losses), losses

  return _sum_at_targets(task, read, word_head(params, 'correction_output'),
                         states, (labels, weights), is_target)


def _sum_at_targets(task: passes.Task, read: targets.ChunkFunction, head: Any,
                    states: jax.Array, constants: Any, is_target: jax.Array
                    ) -> tuple[jax.Array, Any]:
  """Runs a word head at the targets; arrays keep their leading axes."""
  leading = is_target.shape
  flat = lambda x: x.reshape(is_target.size, *x.shape[len(leading):])
  total, values = targets.sum_real_rows(
      read, head, flat(states), jax.tree.map(flat, constants), flat(is_target),
      task.settings.compute.target_chunk)
  return total, jax.tree.map(lambda x: x.reshape(*leading, *x.shape[1:]),
                             values)
