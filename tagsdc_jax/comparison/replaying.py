"""Converts recorded batches and choices to inputs of our training step."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tagsdc_jax import arrays, settings
from tagsdc_jax.comparison import items
from tagsdc_jax.comparison.recordings import Recordings
from tagsdc_jax.engines.engine import Engine, Task
from tagsdc_jax.engines.packed import engine as packed
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.negatives import mask_refill, masked_words, masking, source
from tagsdc_jax.released import objective, pair_rows

# The recordings' `fixed` variant corrects wrong indices; everything else is as
# released in both.
CORRECTED = {
  'as_released': (),
  'fixed': ('first_word_positive', 'last_text_offset'),
}
LOSS, SCORE = 1e-5, 2e-5  # Tolerances, absolute.


def quirks_of(variant: str) -> settings.Quirks:
  """Returns the quirks of a variant of the recordings."""
  quirks = {
    key.removeprefix('quirks.'): value
    for key, value in settings.PRESETS['as_released'].items()
    if key.startswith('quirks.')
  }
  return settings.Quirks(**quirks | dict.fromkeys(CORRECTED[variant], False))


def engine_of(
  recordings: Recordings, phase: str, variant: str, **parts: Any
) -> Engine:
  """Returns the engine for a recording.

  Args:
    recordings: source of sizes and special ids.
    phase: 'tags' or 'dc'.
    variant: a name of CORRECTED.
    **parts: other parts of the settings.
  """
  vocabulary = recordings.vocabulary()
  model = recordings.model()
  config = settings.Settings(
    phase=phase,
    model=model,
    quirks=quirks_of(variant),
    batch=settings.Batch(1, 1),
    **parts,
  )
  return packed.Packed(
    Task(
      model=RetrievalModel(model),
      settings=config,
      mask_id=vocabulary.mask,
      random_range=vocabulary.random_range,
      score_buckets=(),
    )
  )


@struct.dataclass
class Example:
  """One positive with its recorded choices."""

  batch: arrays.MicroBatch
  masked: masking.MaskedText  # [1, K, L]
  sampled: jax.Array  # int32 [1, K, L, S]

  @property
  def seed(self) -> jax.Array:
    """The micro-batch's seed, which the train step reads."""
    return self.batch.seed

  @property
  def number(self) -> jax.Array:
    """The micro-batch's number, which the train step reads."""
    return self.batch.number

  @property
  def caption_numbers(self) -> jax.Array:
    """The captions' numbers, which the train step reads."""
    return self.batch.caption_numbers


@struct.dataclass
class Completed:
  """The recorded sentences, and the MLM loss of the masked captions."""

  sentences: source.Sentences  # [1, G, L]
  is_target: jax.Array  # bool [1, K, L]
  mlm: jax.Array  # float32 [], with gradient
  mlm_losses: jax.Array  # float32 [1, K, L], without gradient


def complete(
  engine: Engine, params: Any, example: Example, dropout_key: jax.Array
) -> Completed:
  """Returns the recorded sentences, and the MLM loss with gradient."""
  own, masked = objective.positive_of(example.batch, 0), example.masked
  nothing = jnp.zeros((*masked.is_target.shape, 0, 2))
  mean, losses, _ = masked_words.predict(
    engine, params, own, masked, nothing, dropout_key
  )
  return Completed(
    mask_refill.refilled(own, masked.is_target, example.sampled),
    masked.is_target,
    mean,
    losses,
  )


def example_of(
  recorded: Mapping[str, np.ndarray],
  prefix: str,
  num_samples: int,
  *,
  images: arrays.Images,
  length: int,
  second: arrays.Texts | None = None,
  pool_texts: arrays.Texts | None = None,
  pool_images: arrays.Images | None = None,
) -> Example:
  """Returns a recorded positive, padded.

  Args:
    recorded: `input_ids` [1, T], `mlm_input_ids`, `mlm_txt_labels` [K, T] and
      `fill_input_ids` [K * S, T] under the prefix.
    prefix: of their names.
    num_samples: S.
    images: the positive's image, [1, R, .], and the second positive's if any.
    length: L, the padded length of texts.
    second: the second positive's caption, [1, L].
    pool_texts: retrieved captions.
    pool_images: retrieved images.
  """
  ids = recorded[f'{prefix}input_ids']
  own = texts_of(ids, [ids.shape[1]], length)
  texts = (
    own
    if second is None
    else jax.tree.map(lambda a, b: np.concatenate([a, b]), own, second)
  )
  labels = pad(recorded[f'{prefix}mlm_txt_labels'], length, -1)
  fills = pad(recorded[f'{prefix}fill_input_ids'], length)
  empty = jax.tree.map(lambda x: x[:0], (own, images))
  count = len(texts.num_tokens)
  batch = arrays.MicroBatch(
    seed=np.uint32(0),
    number=np.int32(0),
    texts=texts,
    images=images,
    phrase_counts=np.zeros((count, 1, length), np.int8),
    phrase_kinds=np.zeros((count, 1), np.int8),
    references=texts.token_ids[:, None],
    pool_texts=empty[0] if pool_texts is None else pool_texts,
    pool_images=empty[1] if pool_images is None else pool_images,
    caption_numbers=np.arange(count, dtype=np.int32),
    image_numbers=np.arange(count, dtype=np.int32),
  )
  masked = masking.MaskedText(
    jnp.asarray(pad(recorded[f'{prefix}mlm_input_ids'], length)[None]),
    jnp.asarray((labels != -1)[None]),
  )
  sampled = np.swapaxes(fills.reshape(-1, num_samples, length), 1, 2)
  return Example(batch, masked, jnp.asarray(sampled[None]))


def texts_of(token_ids: np.ndarray, lengths: Any, length: int) -> arrays.Texts:
  """Returns captions [M, T] padded to [M, length]."""
  return arrays.Texts(pad(token_ids, length), np.asarray(lengths, np.int32))


def images_of(
  features: np.ndarray, boxes: np.ndarray, lengths: Any, regions: int
) -> arrays.Images:
  """Returns region features [M, R, F] padded to [M, regions, F]."""
  features, boxes = (
    np.pad(
      np.asarray(x, np.float32), ((0, 0), (0, regions - x.shape[1]), (0, 0))
    )
    for x in (features, boxes)
  )
  return arrays.Images(features, boxes, np.asarray(lengths, np.int32))


def pad(token_ids: np.ndarray, length: int, value: int = 0) -> np.ndarray:
  """Returns int32 [M, length] for [M, T]."""
  return np.pad(
    token_ids, ((0, 0), (0, length - token_ids.shape[1])), constant_values=value
  ).astype(np.int32)


def gather_index(rows: pair_rows.Rows) -> list[np.ndarray]:
  """Returns the release's gather index of each row's real tokens.

  Our index assumes texts padded to L, the release's padded to the longest text.
  """
  length = rows.texts.token_ids.shape[1]
  shift = length - int(np.max(rows.texts.num_tokens))
  places = np.asarray(rows.places)
  places = np.where(places < length, places, places - shift)
  return [row[mask] for row, mask in zip(places, np.asarray(rows.mask))]


def in_order_of(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
  """Returns the position of each of their rows among ours, int [H].

  The order among rows of equal score is arbitrary. If the rows are not the same
  set, ours are not reordered.
  """
  places = {int(row): place for place, row in enumerate(ours)}
  if set(places) != {int(row) for row in theirs}:
    return np.arange(len(ours))
  return np.array([places[int(row)] for row in theirs])


def gap(scores: np.ndarray, num_hard: int) -> float:
  """Returns the score margin between the last selected row and the next one.

  It is infinite if all rows are selected.
  """
  ranked = np.sort(np.asarray(scores, np.float64))[::-1]
  if num_hard >= len(ranked):
    return np.inf
  return ranked[num_hard - 1] - ranked[num_hard]


def hinge_gap(probs: np.ndarray, margin: float) -> float:
  """Returns the smallest distance of the triplet losses from their kink."""
  return float(np.min(np.abs(margin + probs[1:] - probs[0])))


def same_layout(
  file: str,
  rows: pair_rows.Rows,
  recorded: Mapping[str, np.ndarray],
  *,
  masks: str,
  index: str,
  variant: str = '',
) -> Iterator[items.Item]:
  """Compares masks and gather indices, the latter at real tokens."""
  theirs = recorded[masks].astype(bool)
  ours = np.asarray(rows.mask)
  width = theirs.shape[1]
  yield items.equal(file, masks, ours[:, :width], theirs, variant=variant)
  places = [row[mask] for row, mask in zip(recorded[index], theirs)]
  yield items.equal(
    file,
    index,
    np.concatenate(gather_index(rows)),
    np.concatenate(places),
    variant=variant,
    note='at real tokens',
  )
