"""Scores of all captions against all images, in tiles of static shape."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, parallel, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.scoring import queue, scorer

Progress = Callable[[int], None]  # Takes the number of pairs just scored.


@dataclasses.dataclass(frozen=True)
class Plan:
  """How the matrix is cut. Both axes are sorted by length first.

  Attributes:
    texts: int [text groups, tile_texts], caption numbers; filled by repeating.
    images: int [image groups, tile_images].
    text_lengths: int [text groups], longest caption of each group, [CLS] and
      [SEP] included.
    image_lengths: int [image groups], most regions of each group.
    widths: ascending padded lengths, one compiled program each.
  """
  texts: np.ndarray
  images: np.ndarray
  text_lengths: np.ndarray
  image_lengths: np.ndarray
  widths: tuple[int, ...]

  def width_of(self, text_group: int, image_groups: np.ndarray) -> int:
    """Returns the narrowest width that holds these tiles."""
    needed = (self.text_lengths[text_group]
              + np.max(self.image_lengths[image_groups]))
    return next(w for w in self.widths if w >= needed)


def make_plan(data: dataset.RetrievalDataset, config: settings.Evaluation,
              num_widths: int) -> Plan:
  """Returns tiles over captions and images sorted by length."""
  lengths = np.array([len(c.token_ids) + 2 for c in data.captions])
  texts, text_lengths = _groups(lengths, config.tile_texts)
  images, image_lengths = _groups(np.asarray(data.num_regions),
                                  config.tile_images)
  sums = np.add.outer(text_lengths, image_lengths).reshape(-1)
  widths = queue.length_widths(sums, int(sums.max()), num_widths)
  return Plan(texts, images, text_lengths, image_lengths, widths)


def _groups(lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
  order = np.argsort(lengths, kind='stable')
  order = np.pad(order, (0, -len(order) % size), mode='edge')
  groups = order.reshape(-1, size)
  return groups, lengths[groups].max(axis=1)


def score_matrix(model: RetrievalModel, params: Any,
                 data: dataset.RetrievalDataset,
                 config: settings.Evaluation, *, num_widths: int,
                 devices: list[jax.Device],
                 progress: Progress = lambda pairs: None) -> np.ndarray:
  """Returns raw matching scores, float32 [captions, images].

  Every device holds a group of images, embedded once, and all groups of
  texts pass by. A tile is computed at the narrowest width that fits it, real
  tokens first, and its last layer for [CLS] only.

  Args:
    model: the network.
    params: its parameters, replicated over the devices.
    data: the split, any number of captions per image.
    config: tile sizes.
    num_widths: how many programs at most.
    devices: this process's devices.
    progress: called after every group of images.
  """
  plan = make_plan(data, config, num_widths)
  texts = assembling.texts(data, range(len(data.captions)),
                           int(plan.text_lengths.max()) - 2)
  embed = _embed_program(model, tuple(devices))
  scores = np.zeros((len(data.captions), len(data.image_ids)), np.float32)
  text_tiles = [
      parallel.replicate(jax.tree.map(lambda x, g=group: x[g], texts), devices)
      for group in plan.texts]
  max_regions = int(plan.image_lengths.max())
  for groups in _device_shares(len(plan.images), len(devices)):
    images = [assembling.images(data, plan.images[g], max_regions)
              for g in groups]
    stacked = jax.tree.map(lambda *xs: np.stack(xs), *images)
    embedded = embed(params, parallel.put(stacked, devices))
    pending = []
    for number, tile in enumerate(text_tiles):
      width = plan.width_of(number, groups)
      pending.append(_tile_program(model, tuple(devices), width)(
          params, tile, embedded))
    for number, result in enumerate(pending):
      for group, block in zip(groups, parallel.gather(result), strict=True):
        scores[np.ix_(plan.texts[number], plan.images[group])] = block
    progress(len(data.captions) * len(np.unique(plan.images[groups])))
  return scores


def _device_shares(num_groups: int, num_devices: int) -> Iterator[np.ndarray]:
  """Yields groups for the devices; the last share repeats its last group."""
  for start in range(0, num_groups, num_devices):
    share = np.arange(start, start + num_devices)
    yield np.minimum(share, num_groups - 1)


@functools.lru_cache(maxsize=32)
def _embed_program(model: RetrievalModel,
                   devices: tuple[jax.Device, ...]) -> Callable:
  def embed(params: Any, images: arrays.Images) -> scorer.Embedded:
    states = retrieval.apply(model, params, 'embed_image', images.features,
                             images.boxes)
    return scorer.Embedded(states, images.num_regions)
  return parallel.pmap_function(embed, devices)


@functools.lru_cache(maxsize=256)
def _tile_program(model: RetrievalModel, devices: tuple[jax.Device, ...],
                  width: int) -> Callable:
  def score_tile(params: Any, texts: arrays.Texts,
                 images: scorer.Embedded) -> jax.Array:
    """Returns float32 [a, b]."""
    states = retrieval.apply(model, params, 'embed_text', texts.token_ids)
    embedded = scorer.Embedded(states, texts.num_tokens)
    num_texts, num_images = len(texts.num_tokens), len(images.lengths)
    text_rows = jnp.repeat(jnp.arange(num_texts), num_images)
    image_rows = jnp.tile(jnp.arange(num_images), num_texts)
    pairs = scorer.make_pairs(embedded, images, text_rows, image_rows)
    logits = scorer.score_joined(model, params, *scorer.join(
        scorer.stack(embedded, images), pairs, width))
    return logits.reshape(num_texts, num_images)
  return parallel.pmap_function(score_tile, devices)
