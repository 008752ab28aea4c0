"""The network's passes that the objectives are made of."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays, packing, settings
from tagsdc_jax.losses import words
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import masking, refilling
from tagsdc_jax.scoring import gradients, queue, scorer


@dataclasses.dataclass(frozen=True)
class Task:
  """What is fixed while a run lasts: network, settings, ids, length classes."""
  model: retrieval.RetrievalModel
  settings: settings.Settings
  mask_id: int
  random_range: tuple[int, int]
  # Of pairs that are scored; of pairs that are run with gradient, () for one
  # class, the padded length.
  widths: tuple[int, ...]
  gradient_widths: tuple[int, ...] = ()


def embed_text(task: Task, params: Any, token_ids: jax.Array,
               dropout_key: jax.Array | None = None) -> jax.Array:
  """Returns float [..., L, D] for token_ids [..., L]; dropout if keyed."""
  flat = token_ids.reshape(-1, token_ids.shape[-1])
  states = retrieval.apply(task.model, params, 'embed_text', flat, dropout_key)
  return states.reshape(*token_ids.shape, -1)


def embed_image(task: Task, params: Any, images: arrays.Images,
                dropout_key: jax.Array | None = None) -> jax.Array:
  """Returns float [..., R, D]; dropout if a key is given."""
  features, boxes = images.features, images.boxes
  states = retrieval.apply(
      task.model, params, 'embed_image',
      features.reshape(-1, *features.shape[-2:]),
      boxes.reshape(-1, *boxes.shape[-2:]), dropout_key)
  return states.reshape(*features.shape[:-1], states.shape[-1])


def encode(task: Task, params: Any, text: scorer.Embedded,
           image: scorer.Embedded, *, num_outputs: int,
           dropout_key: jax.Array) -> jax.Array:
  """Runs the encoder with gradient and dropout, all rows padded alike.

  Args:
    task: network and settings.
    params: parameters.
    text: states [..., L, D] and lengths [...].
    image: states [..., R, D] and lengths [...], same leading axes.
    num_outputs: how many leading tokens are wanted.
    dropout_key: PRNG key, used once.
  Returns:
    float [..., num_outputs, D].
  """
  leading = text.lengths.shape
  embeddings = jnp.concatenate([text.states, image.states], axis=-2)
  mask = jnp.concatenate(
      [arrays.length_mask(x.lengths, x.states.shape[-2])
       for x in (text, image)], axis=-1)
  states = retrieval.apply(
      task.model, params, 'encode',
      embeddings.reshape(-1, *embeddings.shape[-2:]),
      mask.reshape(-1, mask.shape[-1]), num_outputs=num_outputs,
      dropout_key=dropout_key)
  return states.reshape(*leading, *states.shape[1:])


def sum_losses(task: Task, row_losses: gradients.RowLosses, params: Any,
               heads: Any, texts: scorer.Embedded, images: scorer.Embedded,
               rows: gradients.Rows, dropout_key: jax.Array, *,
               num_outputs: int) -> tuple[jax.Array, Any]:
  """Returns `gradients.sum_losses` with the task's network and cuts."""
  full = texts.states.shape[1] + images.states.shape[1]
  return gradients.sum_losses(
      row_losses, task.model, params, heads, texts, images, rows, dropout_key,
      widths=task.gradient_widths or (full,),
      chunk=queue.even_chunk(rows.text_rows.shape[0],
                             task.settings.compute.gradient_rows),
      num_outputs=num_outputs)


def match_head(params: Any) -> Any:
  """Returns the parameters of `match_probs`."""
  return {name: params[name] for name in ('pooler', 'rank_output')}


def word_head(params: Any, name: str) -> Any:
  """Returns the parameters of a word head, 'mlm_output' for one."""
  return {name: params[name], 'text_embeddings': {
      'word': params['text_embeddings']['word']}}


def match_probs(task: Task, params: Any, states: jax.Array) -> jax.Array:
  """Returns sigmoid of the matching score, float32 [...]."""
  flat = states.reshape(-1, *states.shape[-2:])
  logits = retrieval.apply(task.model, params, 'match_logits', flat)
  return jax.nn.sigmoid(logits).reshape(states.shape[:-2])


def predict_masked(task: Task, params: Any, batch: arrays.MicroBatch,
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
      embed_text(task, params, masked.token_ids.reshape(-1, length), text_key),
      repeat(batch.texts.num_tokens).reshape(-1))
  image = scorer.Embedded(
      embed_image(task, params, batch.images, image_key),
      batch.images.num_regions)
  labels = repeat(batch.texts.token_ids)
  weights = jax.grad(lambda losses: jnp.mean(words.masked_mean(
      losses, masked.is_target, (1, 2))))(jnp.zeros(labels.shape))
  every = jnp.ones(num_positives * num_copies, bool)
  flat = lambda x: x.reshape(len(every), *x.shape[2:])
  rows = gradients.Rows(
      jnp.arange(len(every)), flat(repeat(jnp.arange(num_positives))), every,
      every, (), jax.tree.map(flat, (labels, uniforms, masked.is_target,
                                     weights)))
  total, (losses, sampled) = sum_losses(
      task, functools.partial(_masked_losses, task), params,
      word_head(params, 'mlm_output'), text, image, rows, encoder_key,
      num_outputs=length)
  like = lambda x: x.reshape(num_positives, num_copies, *x.shape[1:])
  return total, like(losses), like(sampled)


def _masked_losses(task: Task, head: Any, states: jax.Array, inputs: tuple,
                   constants: Any) -> tuple[jax.Array, Any]:
  """A row's share of L_mlm; see `gradients.RowLosses`."""
  del inputs
  labels, uniforms, is_target, weights = constants

  def read(head: Any, rows: Any) -> tuple[jax.Array, jax.Array]:
    hidden, label, uniform = rows
    logits = retrieval.apply(task.model, head, 'mlm_logits', hidden)
    return (words.word_loss(logits, label),
            refilling.sample_tokens(uniform, jax.lax.stop_gradient(logits),
                                    task.settings.negatives.temperature))

  losses, sampled = _at_targets(task, head, read, (states, labels, uniforms),
                                is_target)
  return jnp.sum(weights * losses, axis=-1), (losses, sampled)


def correction_losses(task: Task, params: Any, states: jax.Array,
                      labels: jax.Array, is_target: jax.Array,
                      cross_entropy: words.CrossEntropy) -> jax.Array:
  """Returns the word-correction loss, float32 [..., L], zero off targets.

  Args:
    task: network and settings.
    params: parameters.
    states: float [..., L, D], of refilled sentences.
    labels: int32 [..., L], the caption's own tokens.
    is_target: bool [..., L], positions that had been masked.
    cross_entropy: one of `losses.words`.
  """
  def read(head: Any, rows: Any) -> tuple[jax.Array, tuple]:
    hidden, label = rows
    logits = retrieval.apply(task.model, head, 'correction_logits', hidden)
    return cross_entropy(logits, label), ()

  losses, _ = _at_targets(task, word_head(params, 'correction_output'), read,
                          (states, labels), is_target)
  return losses


def _at_targets(task: Task, head: Any, read: packing.ChunkFunction,
                rows: tuple, is_target: jax.Array) -> tuple[jax.Array, Any]:
  """Runs a word head at the targets; arrays keep their leading axes."""
  leading = is_target.shape
  flat = jax.tree.map(
      lambda x: x.reshape(is_target.size, *x.shape[len(leading):]), rows)
  result = packing.map_real_rows(
      read, head, flat, is_target.reshape(-1),
      task.settings.compute.target_chunk)
  return jax.tree.map(lambda x: x.reshape(*leading, *x.shape[1:]), result)
