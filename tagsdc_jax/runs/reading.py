"""Runs a trained network on a few sentences and images, on one device.

Programs are compiled for 8 or 64 sentences, images or pairs, padded to the
split's longest caption, so that calls rarely compile a new one.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from tagsdc_jax import arrays, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.engines import engine
from tagsdc_jax.runs import example_negatives, setup

_SIZES = (8, 64)
# Sentences longer than the split's are padded to a multiple of this.
_STEP = 8


class Read(NamedTuple):
  """Outputs of the heads for pairs of a sentence and an image."""

  pooled: arrays.Array  # float32 [pairs, D], what the score is computed from
  logits: arrays.Array  # float32 [pairs], raw matching scores
  replaced_probs: arrays.Array | None  # float32 [pairs, L]
  corrections: arrays.Array | None  # int32 [pairs, L]


class Reader:
  """Runs a network on sentences and on images of a split."""

  def __init__(
    self, config: settings.Settings, params: Any, data: dataset.RetrievalDataset
  ) -> None:
    """Uses a network's parameters and a split.

    Args:
      config: settings, including the data's sizes.
      params: parameters; `rank_output` is the matching head (see
        `head_init.matching_parameters`).
      data: the split; no caption exceeds `model.max_positions`.
    """
    self._config, self._params, self._data = config, params, data
    self._model = setup.make_model(config)
    self._shapes = assembling.shapes_of(data)

  def score(
    self, captions: Sequence[dataset.Caption], images: np.ndarray
  ) -> Float32[np.ndarray, 'captions images']:
    """Returns the raw matching score of each caption with each image.

    Args:
      captions: at least one; none exceeds `model.max_positions`.
      images: int [images], at least one image number.
    """
    scores = np.zeros((len(captions), len(images)), np.float32)
    length = self._length(captions)
    size = _size(max(len(captions), len(images)))
    for columns, num_images in _batches(len(images), size):
      regions = self._regions(images[columns])
      for rows, num_captions in _batches(len(captions), size):
        is_needed = np.zeros((size, size), bool)
        is_needed[:num_captions, :num_images] = True
        found = _score(
          self._engine(length),
          self._params,
          self._texts([captions[i] for i in rows], length),
          regions,
          is_needed,
        )
        scores[np.ix_(rows[:num_captions], columns[:num_images])] = np.asarray(
          found
        )[:num_captions, :num_images]
    return scores

  def read(
    self,
    pairs: Sequence[tuple[dataset.Caption, int]],
    *,
    with_words: bool = False,
    at_once: int = 0,
  ) -> Read:
    """Returns the outputs of the heads for each pair, as numpy arrays.

    Args:
      pairs: at least one pair of a caption and an image number.
      with_words: whether to read the word heads of stage 2.
      at_once: how many to run at a time, for a program that is compiled
        already; 0: all, if there are not too many.
    """
    length = self._length([caption for caption, _ in pairs])
    found = []
    for rows, count in _batches(len(pairs), _size(at_once or len(pairs))):
      read = _read_pairs(
        self._engine(length),
        with_words,
        self._params,
        self._texts([pairs[i][0] for i in rows], length),
        self._regions([pairs[i][1] for i in rows]),
      )
      found.append(jax.tree.map(lambda x, n=count: np.asarray(x)[:n], read))
    return jax.tree.map(lambda *x: np.concatenate(x), *found)

  def _length(self, captions: Sequence[dataset.Caption]) -> int:
    """Returns the padded length L."""
    usual = self._shapes.max_tokens + 2
    longest = max(len(caption.token_ids) for caption in captions) + 2
    if longest <= usual:
      return usual
    return min(-(-longest // _STEP) * _STEP, self._config.model.max_positions)

  def _engine(self, length: int) -> engine.Engine:
    vocabulary = self._data.vocabulary
    return setup.make_engine(
      engine.Task(
        model=self._model,
        settings=self._config,
        mask_id=vocabulary.mask,
        random_range=vocabulary.random_range,
        score_buckets=(length + self._shapes.max_regions,),
      )
    )

  def _texts(
    self, captions: Sequence[dataset.Caption], length: int
  ) -> arrays.Texts:
    data = dataclasses.replace(self._data, captions=captions)
    return assembling.texts(data, range(len(captions)), length - 2)

  def _regions(self, numbers: Sequence[int] | np.ndarray) -> arrays.Images:
    return assembling.images(self._data, numbers, self._shapes.max_regions)


def _size(count: int) -> int:
  """Returns the number of items to run at once."""
  return next((size for size in _SIZES if size >= count), _SIZES[-1])


def _batches(count: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
  """Yields the indices of `size` items, and how many of them are needed.

  The rest repeats the last item.
  """
  for start in range(0, count, size):
    yield (
      np.minimum(np.arange(start, start + size), count - 1),
      min(size, count - start),
    )


@functools.partial(jax.jit, static_argnums=0)
def _score(
  own: engine.Engine,
  params: Any,
  texts: arrays.Texts,
  images: arrays.Images,
  is_needed: jax.Array,
) -> jax.Array:
  """Returns scores, float32 [texts, images], 0 where not needed."""
  rows = jnp.arange(is_needed.size, dtype=jnp.int32)
  return own.score(
    params,
    own.embed_text(params, texts),
    own.embed_image(params, images),
    rows // is_needed.shape[1],
    rows % is_needed.shape[1],
    is_needed.reshape(-1),
  ).reshape(is_needed.shape)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _read_pairs(
  own: engine.Engine,
  with_words: bool,
  params: Any,
  texts: arrays.Texts,
  images: arrays.Images,
) -> Read:
  states = own.encode(
    params,
    own.embed_text(params, texts),
    own.embed_image(params, images),
    num_outputs=texts.token_ids.shape[1] if with_words else 1,
    dropout_key=None,
  )
  return Read(
    own.read(params, 'pooled', states).astype(jnp.float32),
    own.read(params, 'match_logits', states),
    *(
      example_negatives.read_words(own, params, states)
      if with_words
      else (None, None)
    ),
  )
