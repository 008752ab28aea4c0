"""forward.npz: embeddings, the states of every layer, and all heads."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays as structs
from tagsdc_jax.comparison import items
from tagsdc_jax.comparison.recordings import Arrays, Recordings
from tagsdc_jax.engines import engine, pair_tokens
from tagsdc_jax.engines.packed import scoring
from tagsdc_jax.models import layers, retrieval
from tagsdc_jax.models.retrieval import RetrievalModel

FILE, WEIGHTS = 'forward.npz', 'checkpoint_stage2.safetensors'
# Two float32 computations may differ by the sum of their errors; if the
# release's error is larger than usual, the manifest says how large.
FLOAT32, FLOAT64 = 1e-5, 1e-10
_Outputs = dict[str, np.ndarray]


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields one item per recorded array."""
  recorded = recordings.arrays(FILE)
  params = recordings.parameters(recordings.checkpoint(FILE, WEIGHTS))
  yield from _inputs(recorded)
  noise = recordings.entry(FILE).get('float32_vs_float64_max_abs', {})
  yield from _compare(
    recorded,
    '',
    lambda key: max(
      recordings.tolerance(FILE, FLOAT32), 2 * noise.get(key, 0.0)
    ),
    _outputs(RetrievalModel(recordings.model()), params, recorded),
  )
  if recordings.x64:
    with jax.enable_x64(True):
      outputs = _outputs(
        RetrievalModel(recordings.model(), jnp.float64), params, recorded
      )
    yield from _compare(recorded, 'f64/', lambda key: FLOAT64, outputs)


def _inputs(recorded: Arrays) -> Iterator[items.Item]:
  """Compares positions and masks, which we compute from lengths."""
  yield items.equal(
    FILE,
    'position_ids',
    np.arange(recorded['input_ids'].shape[1])[None],
    recorded['position_ids'],
  )
  width = recorded['attn_masks'].shape[1]
  ours = structs.length_mask(
    jnp.asarray(recorded['txt_lens'] + recorded['num_bbs']), width
  )
  yield items.equal(
    FILE, 'attn_masks', np.asarray(ours), recorded['attn_masks']
  )


def _compare(
  recorded: Arrays,
  prefix: str,
  bounds: Callable[[str], float],
  outputs: _Outputs,
) -> Iterator[items.Item]:
  for name, ours in outputs.items():
    key, _, how = name.partition(', ')
    if f'{prefix}{key}' not in recorded:
      continue
    theirs = recorded[f'{prefix}{key}']
    if how == 'real tokens':
      theirs = theirs[recorded['attn_masks'].astype(bool)]
    yield items.close(FILE, prefix + name, ours, theirs, atol=bounds(key))


def _outputs(model: RetrievalModel, params: Any, recorded: Arrays) -> _Outputs:
  """Returns our network's outputs by the names of the recorded arrays.

  The pairs run twice: in the release's layout, which also has padding between
  text and regions, so that every recorded number has a counterpart; and in the
  layout of training and ranking, named "..., real tokens".
  """
  inputs = [
    recorded[key].astype(model.dtype) for key in ('img_feat', 'img_pos_feat')
  ]
  token_ids = recorded['input_ids'].astype(np.int32)
  is_masked = (
    recorded['img_masks']
    if 'img_masks' in recorded
    else np.zeros(inputs[0].shape[:2], bool)
  )
  text, image, masked = map(
    np.asarray,
    _embed(model, params, token_ids, *inputs, is_masked.astype(bool)),
  )
  mask = recorded['attn_masks'].astype(bool)
  width, length = mask.shape[1], text.shape[1]
  laid_out = np.take_along_axis(
    np.concatenate([text, image], axis=1),
    recorded['gather_index'][..., None],
    axis=1,
  )
  states = _states(model, params, laid_out, mask)
  outputs: dict[str, Any] = {
    'text_embedding': text,
    'image_embedding': image,
    'image_embedding_masked': masked,
    'joint_embedding': laid_out,
    **{f'hidden_{k}': x for k, x in enumerate(states)},
    **_heads(model, params, states[-1], length),
  }

  texts, images = (
    engine.Embedded(jnp.asarray(x), jnp.asarray(recorded[key], jnp.int32))
    for x, key in ((text, 'txt_lens'), (image, 'num_bbs'))
  )
  joined, is_real, last, scores = _real_tokens(
    model, params, texts, images, width
  )
  real = np.asarray(is_real)
  outputs |= {
    'joint_embedding, real tokens': np.asarray(joined)[real],
    f'hidden_{len(states) - 1}, real tokens': np.asarray(last)[real],
    'rank_scores, as ranked': scores,
  }

  for kind, x in (('text', text), ('image', image)):
    if f'{kind}_only_mask' in recorded:
      alone = recorded[f'{kind}_only_mask'].astype(bool)
      # Padded to the width of the pairs, to reuse their compiled program.
      last = _encode(model, params, _widen(x, width), _widen(alone, width))
      outputs[f'{kind}_only_hidden'] = np.asarray(last)[:, : x.shape[1]]
  for probe in ('layernorm', 'gelu'):
    if f'probe/{probe}_in' in recorded:
      outputs[f'probe/{probe}_out'] = _probe(
        model, params, probe, recorded[f'probe/{probe}_in'].astype(model.dtype)
      )
  return {name: np.asarray(x) for name, x in outputs.items()}


def _widen(x: np.ndarray, width: int) -> np.ndarray:
  return np.pad(x, [(0, 0), (0, width - x.shape[1])] + [(0, 0)] * (x.ndim - 2))


@functools.partial(jax.jit, static_argnums=0)
def _embed(
  model: RetrievalModel,
  params: Any,
  token_ids: jax.Array,
  features: jax.Array,
  boxes: jax.Array,
  is_masked: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  apply = functools.partial(retrieval.apply, model, params)
  masked = apply('mask_regions', features, is_masked)
  return (
    apply('embed_text', token_ids),
    apply('embed_image', features, boxes),
    apply('embed_image', masked, boxes),
  )


@functools.partial(jax.jit, static_argnums=0)
def _encode(
  model: RetrievalModel, params: Any, embeddings: jax.Array, mask: jax.Array
) -> jax.Array:
  return retrieval.apply(
    model, params, 'encode', embeddings, mask, num_outputs=mask.shape[1]
  )


@functools.partial(jax.jit, static_argnums=(0, 4))
def _real_tokens(
  model: RetrievalModel,
  params: Any,
  texts: engine.Embedded,
  images: engine.Embedded,
  width: int,
) -> tuple[jax.Array, ...]:
  """Returns joined embeddings, mask, last states and scores [B, 1]."""
  rows = jnp.arange(len(texts.lengths))
  joined, mask = pair_tokens.join(
    pair_tokens.stack(texts, images),
    pair_tokens.make_pairs(texts, images, rows, rows),
    width,
  )
  return (
    joined,
    mask,
    _encode(model, params, joined, mask),
    scoring.score_joined(model, params, joined, mask)[:, None],
  )


def _states(
  model: RetrievalModel, params: Any, embeddings: np.ndarray, mask: np.ndarray
) -> list[jax.Array]:
  """Returns the states after each layer.

  The last states come from the whole network. It does not return the others;
  they come from single-layer networks, which share one compiled program.
  """
  single = RetrievalModel(
    dataclasses.replace(model.config, num_layers=1), model.dtype
  )
  states: list[jax.Array] = []
  x: Any = embeddings
  for k in range(model.config.num_layers - 1):
    layer = jax.tree.map(lambda leaf, k=k: leaf[k], params['encoder']['layers'])
    x = _encode(single, {'encoder': {'last_layer': layer}}, x, mask)
    states.append(x)
  return [*states, _encode(model, params, embeddings, mask)]


@functools.partial(jax.jit, static_argnums=(0, 3))
def _heads(
  model: RetrievalModel, params: Any, states: jax.Array, length: int
) -> dict[str, jax.Array]:
  apply = functools.partial(retrieval.apply, model, params)
  logits = apply('match_logits', states)[:, None]
  words = states[:, :length]
  outputs = {
    'pooled': apply('pooled', states),
    'rank_scores': logits,
    'rank_scores_sigmoid': jax.nn.sigmoid(logits),
    'itm_logits': apply('itm_logits', states),
    'mlm_logits': apply('mlm_logits', words),
  }
  if 'disc_output' in params:  # Stage 1's weights do not have it.
    outputs['disc_probs'] = jax.nn.softmax(apply('disc_logits', words))
    outputs['correction_logits'] = apply('correction_logits', words)
  return outputs


@functools.partial(jax.jit, static_argnums=(0, 2))
def _probe(model: RetrievalModel, params: Any, name: str, x: jax.Array) -> Any:
  if name == 'gelu':
    return layers.gelu(x)
  return layers.layer_norm(model.dtype, None).apply(
    {'params': params['text_embeddings']['norm']}, x
  )
