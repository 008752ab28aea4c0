"""hard_negatives.npz: images and texts scored, selected, and run again."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tagsdc_jax import arrays, settings
from tagsdc_jax.comparison import items, replaying
from tagsdc_jax.comparison.recordings import Recordings
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.released import objective, pair_rows

FILE, WEIGHTS = 'hard_negatives.npz', 'checkpoint_stage1.safetensors'
# Groups with recorded indices of the retrieved texts' rows, and their variants.
_VARIANTS = {'released_gather/': 'as_released', 'fixed_gather/': 'fixed'}


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for both directions and, for texts, both variants."""
  recorded = recordings.arrays(FILE)
  params = recordings.parameters(recordings.checkpoint(FILE, WEIGHTS))
  negatives = settings.Negatives(num_hard=recordings.note(FILE, 'hard_size'))
  losses = settings.Losses(margin=recordings.note(FILE, 'margin'))
  for path, group, variant in _cases(recorded):
    engine = replaying.engine_of(
      recordings, 'tags', variant, negatives=negatives, losses=losses
    )
    batch = batch_of(recorded, f'{path}/', path)
    outcome = rank(engine, path, params, batch)
    yield from _compare(
      recorded, path, group, variant, engine, outcome.ranked, outcome.rows
    )


def _cases(
  recorded: Mapping[str, np.ndarray],
) -> Iterator[tuple[str, str, str]]:
  """Yields the path, prefix of variant-dependent arrays, and the variant."""
  if 't/input_ids' in recorded:
    yield 't', 't/', 'as_released'
  for group, variant in _VARIANTS.items():
    if f'i/{group}gather_index' in recorded:
      yield 'i', f'i/{group}', variant


def batch_of(
  recorded: Mapping[str, np.ndarray], prefix: str, path: str, regions: int = 0
) -> arrays.MicroBatch:
  """Returns a positive and its candidates as a micro-batch.

  Args:
    recorded: arrays of the release's batch under the prefix.
    prefix: of their names.
    path: 't', one text and many images, or 'i', one image and many texts.
    regions: padded number of regions; 0 leaves images as they are.
  """
  ids, masks = (recorded[prefix + key] for key in ('input_ids', 'attn_masks'))
  features, boxes = (
    recorded[prefix + key] for key in ('img_feat', 'img_pos_feat')
  )
  real = masks.sum(axis=1)
  # The single side is never padded.
  tokens = [ids.shape[1]] if path == 't' else real - features.shape[1]
  real_regions = [features.shape[1]] if path == 'i' else real - ids.shape[1]
  texts = replaying.texts_of(ids, tokens, ids.shape[1])
  images = replaying.images_of(
    features, boxes, real_regions, regions or features.shape[1]
  )
  own, pool = (
    jax.tree.map(lambda x, s=s: x[s], (texts, images))
    for s in (slice(0, 1), slice(1, None))
  )
  one = np.zeros(1, np.int32)
  return arrays.MicroBatch(
    seed=np.uint32(0),
    number=np.int32(0),
    texts=own[0],
    images=own[1],
    phrase_counts=np.zeros((1, 1, ids.shape[1]), np.int8),
    phrase_kinds=np.zeros((1, 1), np.int8),
    references=own[0].token_ids[:, None],
    pool_texts=pool[0],
    pool_images=pool[1],
    caption_numbers=one,
    image_numbers=one,
  )


@struct.dataclass
class RankOutcome:
  """The results of training for one direction."""

  ranked: pair_rows.Ranked
  rows: pair_rows.Rows
  loss: jax.Array  # float32 []
  gradient: Any  # With respect to the parameters.


@functools.partial(jax.jit, static_argnums=(0, 1))
def rank(
  engine: Engine, path: str, params: Any, batch: arrays.MicroBatch
) -> RankOutcome:
  """Ranks a positive against its candidates as training does.

  Args:
    engine: runs the network.
    path: 't' or 'i', see `batch_of`.
    params: parameters.
    batch: one positive and its candidates.
  """
  key = jax.random.key(0)  # Unused: there is no dropout.

  def loss(params: Any) -> tuple[jax.Array, Any]:
    if path == 't':
      ranked = objective.rank_images(engine, params, batch, key)
      rows = objective.image_rows(batch)
    else:
      ranked = objective.rank_texts(engine, params, batch, key)
      rows = objective.text_rows(engine.task.settings.quirks, batch)
    return jnp.mean(ranked.losses), (ranked, rows)

  (value, (ranked, rows)), gradient = jax.value_and_grad(loss, has_aux=True)(
    params
  )
  return RankOutcome(ranked, rows, value, gradient)


def _compare(
  recorded: Any,
  path: str,
  group: str,
  variant: str,
  engine: Engine,
  ranked: pair_rows.Ranked,
  rows: pair_rows.Rows,
) -> Iterator[items.Item]:
  num_hard = engine.task.settings.negatives.num_hard
  yield items.equal(
    FILE,
    f'{path}/position_ids',
    np.broadcast_to(
      np.arange(recorded[f'{path}/input_ids'].shape[1]),
      recorded[f'{path}/position_ids'].shape,
    ),
    recorded[f'{path}/position_ids'],
  )
  yield from replaying.same_layout(
    FILE,
    rows,
    recorded,
    masks=f'{path}/attn_masks',
    index=f'{group}gather_index',
    variant=variant,
  )
  close = functools.partial(items.close, FILE, variant=variant)
  logits = np.asarray(ranked.match_logits)
  yield close(
    f'{group}scores',
    logits[:, None],
    recorded[f'{group}scores'],
    atol=replaying.SCORE,
  )
  selected = 1 + np.asarray(ranked.indices)
  order, sorted_rows = (
    recorded[f'{group}selected_{key}'] for key in ('in_order', 'sorted')
  )
  for key, theirs in (('in_order', order), ('sorted', sorted_rows)):
    yield items.as_sets(
      FILE, f'{group}selected_{key}', selected, theirs, variant=variant
    )
  ours = replaying.in_order_of(selected, order)
  probs = np.asarray(ranked.probs)[[0, *(1 + ours)]]
  losses = np.asarray(ranked.losses)[ours]
  yield close(
    f'{group}sigmoid_scores_second_pass',
    probs,
    recorded[f'{group}sigmoid_scores_second_pass'],
    atol=replaying.SCORE,
  )
  yield close(
    f'{group}rank_loss',
    losses[None],
    recorded[f'{group}rank_loss'],
    atol=replaying.LOSS,
  )
  yield close(
    f'{group}rank_loss_mean',
    losses.mean(),
    recorded[f'{group}rank_loss_mean'],
    atol=replaying.LOSS,
  )
  yield items.equal(
    FILE,
    f'{group}rank_corrects',
    (probs[1:] <= probs[0])[None],
    recorded[f'{group}rank_corrects'],
    variant=variant,
  )
  yield close(
    f'{group}boundary_gap',
    replaying.gap(logits[1:], num_hard),
    recorded[f'{group}boundary_gap'],
    atol=2 * replaying.SCORE,
  )
  yield close(
    f'{group}hinge_min_abs',
    replaying.hinge_gap(probs, engine.task.settings.losses.margin),
    recorded[f'{group}hinge_min_abs'],
    atol=2 * replaying.SCORE,
  )
  trimmed = recorded[f'{group}trimmed_attn_masks'].astype(bool)
  mask = np.asarray(rows.mask)[[0, *order]]
  yield items.equal(
    FILE,
    f'{group}trimmed_attn_masks',
    mask[:, : trimmed.shape[1]],
    trimmed,
    variant=variant,
  )
  yield items.equal(
    FILE,
    f'{group}trimmed_img_feat_shape',
    [len(mask)],
    recorded[f'{group}trimmed_img_feat_shape'][:1].tolist(),
    variant=variant,
    note='rows only; we use masks instead of trimming',
  )
