"""The network's passes that the objectives are made of."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from tagsdc_jax import arrays, settings
from tagsdc_jax.engines.packed import loss_and_grad, scorer
from tagsdc_jax.models import retrieval


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


def sum_losses(task: Task, row_losses: loss_and_grad.RowLosses, params: Any,
               heads: Any, texts: scorer.Embedded, images: scorer.Embedded,
               rows: loss_and_grad.Rows, dropout_key: jax.Array, *,
               num_outputs: int) -> tuple[jax.Array, Any]:
  """Returns `gradients.sum_losses` with the task's network and cuts."""
  full = texts.states.shape[1] + images.states.shape[1]
  return loss_and_grad.sum_losses(
      row_losses, task.model, params, heads, texts, images, rows, dropout_key,
      widths=task.gradient_widths or (full,),
      num_tokens=task.settings.compute.gradient_tokens,
      num_outputs=num_outputs)


def match_head(params: Any) -> Any:
  """Returns the parameters of `match_probs`."""
  return {name: params[name] for name in ('pooler', 'rank_output')}


def match_probs(task: Task, params: Any, states: jax.Array) -> jax.Array:
  """Returns sigmoid of the matching score, float32 [...]."""
  flat = states.reshape(-1, *states.shape[-2:])
  logits = retrieval.apply(task.model, params, 'match_logits', flat)
  return jax.nn.sigmoid(logits).reshape(states.shape[:-2])
