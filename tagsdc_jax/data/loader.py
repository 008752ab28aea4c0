"""Micro-batches as pure functions of their number, prefetched by threads."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Int

from tagsdc_jax import arrays, errors
from tagsdc_jax.data import assembling, dataset

# Streams of a micro-batch's random numbers.
_IMAGES, _TEXTS = 0, 1


@dataclasses.dataclass(frozen=True)
class MicroBatches:
  """The micro-batches of a run, by random access.

  Captions are reshuffled every epoch; every draw is a function of (seed,
  number), so a resumed run needs no state but the number of updates done.
  """

  data: dataset.RetrievalDataset
  shapes: assembling.Shapes
  seed: int
  positives: int
  pool_size: int

  def __post_init__(self) -> None:
    if not self.pool_size:
      return
    num_images = len(self.data.image_ids)
    if self.pool_size + self.positives > num_images:
      raise errors.UserError(
        f'negatives.pool_size = {self.pool_size} and batch.positives = '
        f'{self.positives} need {self.pool_size + self.positives} images, '
        f'but {self.data.name} has {num_images}; lower one of them'
      )
    # With few captions there could still be too few negative texts.
    most = max(len(c) for c in self.data.captions_of_image) * self.positives
    if self.pool_size + most > len(self.data.captions):
      raise errors.UserError(
        f'negatives.pool_size = {self.pool_size} needs '
        f'{self.pool_size + most} captions, but {self.data.name} has '
        f'{len(self.data.captions)}; lower it'
      )

  def __getitem__(self, number: int) -> arrays.MicroBatch:
    """Returns a micro-batch of numpy arrays."""
    numbers = self.caption_numbers(number)
    pool_images, pool_texts = self.pool(
      number, [self.data.captions[i].image for i in numbers]
    )
    return assembling.micro_batch(
      self.data,
      self.shapes,
      self.seed,
      number,
      numbers,
      pool_texts,
      pool_images,
    )

  @property
  def num_rows(self) -> int:
    """Number of captions in a micro-batch."""
    return self.positives

  def caption_numbers(self, number: int) -> list[int]:
    """Returns the numbers of the B positives."""
    return self.shuffled(number, self.seed)

  def shuffled(self, number: int, seed: int) -> list[int]:
    """Returns the numbers of B captions, a slice of endless shuffled epochs."""
    order = (
      grain.MapDataset.range(len(self.data.captions))
      .seed(seed)
      .shuffle()
      .repeat()
    )
    start = number * self.positives
    return [int(order[start + i]) for i in range(self.positives)]

  def pool(
    self, number: int, image_numbers: list[int]
  ) -> tuple[Int[np.ndarray, 'N'], Int[np.ndarray, 'N']]:
    """Draws N images and N captions of others, without replacement.

    Args:
      number: index of the micro-batch.
      image_numbers: images of the positives, which the pool excludes.
    Returns:
      the numbers of the images, and of the captions.
    """
    own_images = sorted(set(image_numbers))
    own_texts = [c for i in own_images for c in self.data.captions_of_image[i]]
    return (
      self._draw(number, _IMAGES, len(self.data.image_ids), own_images),
      self._draw(number, _TEXTS, len(self.data.captions), own_texts),
    )

  def _draw(
    self, number: int, stream: int, population: int, excluded: list[int]
  ) -> Int[np.ndarray, 'N']:
    # Draws enough that the excluded ones can be dropped; the rest is uniform.
    rng = np.random.default_rng([self.seed, number, stream])
    drawn = rng.choice(
      population, self.pool_size + len(excluded), replace=False
    )
    return drawn[~np.isin(drawn, excluded)][: self.pool_size]


def count_slices(micro_batches: int, all_devices: int, at_once: int) -> int:
  """Returns the number of equal slices that an update's inputs come in.

  Args:
    micro_batches: per update.
    all_devices: devices of all processes.
    at_once: micro-batches that each device gets in a slice; 0 for all.
  Raises:
    UserError: if devices or slices do not divide the micro-batches.
  """
  _check_devices(micro_batches, all_devices)
  share = micro_batches // all_devices
  if not at_once or at_once >= share:
    return 1
  if share % at_once:
    raise errors.UserError(
      f'compute.micro_batches_at_once must divide the {share} micro-batches '
      f'of each device, got {at_once}'
    )
  return share // at_once


def update_shapes(
  source: MicroBatches,
  micro_batches: int,
  num_devices: int,
  num_processes: int = 1,
  num_slices: int = 1,
) -> arrays.MicroBatch:
  """Returns the shapes of a process's inputs without assembling them.

  Args:
    source: micro-batches by number.
    micro_batches: per update, over all processes.
    num_devices: devices of a process.
    num_processes: number of processes.
    num_slices: slices per update.
  """
  _check_devices(micro_batches, num_devices * num_processes)
  data, shapes = source.data, source.shapes
  positives, pool = source.num_rows, source.pool_size
  length = shapes.max_tokens + 2

  def of(*shape: int, dtype: Any = np.int32) -> jax.ShapeDtypeStruct:
    at_once = micro_batches // num_devices // num_processes // num_slices
    return jax.ShapeDtypeStruct((num_devices, at_once, *shape), dtype)

  def texts(rows: int) -> arrays.Texts:
    return arrays.Texts(of(rows, length), of(rows))

  def images(rows: int) -> arrays.Images:
    regions = shapes.max_regions
    return arrays.Images(
      of(rows, regions, data.feature_size, dtype=data.feature_dtype),
      of(rows, regions, 7, dtype=np.float32),
      of(rows),
    )

  return arrays.MicroBatch(
    seed=of(dtype=np.uint32),
    number=of(),
    texts=texts(positives),
    images=images(positives),
    phrase_counts=of(positives, shapes.max_phrases, length, dtype=np.int8),
    phrase_kinds=of(positives, shapes.max_phrases, dtype=np.int8),
    references=of(positives, shapes.max_references, length),
    pool_texts=texts(pool),
    pool_images=images(pool),
    caption_numbers=of(positives),
    image_numbers=of(positives),
  )


def iterate_updates(
  source: MicroBatches,
  *,
  micro_batches: int,
  first_update: int,
  num_updates: int,
  num_devices: int,
  process: int,
  num_processes: int,
  num_threads: int,
  num_prefetched: int,
  num_slices: int = 1,
) -> Iterator[arrays.MicroBatch]:
  """Yields this process's share of each update, stacked for its devices.

  Each device has its own run of consecutive micro-batches; a slice contains
  the next ones of every device.

  Args:
    source: micro-batches by number.
    micro_batches: per update, over all processes.
    first_update: updates already done.
    num_updates: update to stop at.
    num_devices: devices of this process.
    process: index of this process.
    num_processes: number of processes.
    num_threads: threads that assemble micro-batches.
    num_prefetched: slices assembled ahead.
    num_slices: slices per update, see `count_slices`.
  Yields:
    MicroBatch with leading axes [num_devices, micro-batches of a slice].
  Raises:
    UserError: if the devices do not divide the micro-batches.
  """
  _check_devices(micro_batches, num_devices * num_processes)
  share = micro_batches // num_devices // num_processes
  at_once = share // num_slices

  def assemble(number: int) -> arrays.MicroBatch:
    update, part = divmod(number, num_slices)
    firsts = [
      update * micro_batches
      + (process * num_devices + d) * share
      + part * at_once
      for d in range(num_devices)
    ]
    parts = [source[first + i] for first in firsts for i in range(at_once)]
    return jax.tree.map(
      lambda *xs: np.stack(xs).reshape(num_devices, at_once, *np.shape(xs[0])),
      *parts,
    )

  slices = grain.MapDataset.range(
    first_update * num_slices, num_updates * num_slices
  ).map(assemble)
  return iter(
    slices.to_iter_dataset(
      grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=num_prefetched
      )
    )
  )


def _check_devices(micro_batches: int, all_devices: int) -> None:
  if micro_batches % all_devices:
    raise errors.UserError(
      f'batch.micro_batches must be divisible by the {all_devices} devices, '
      f'got {micro_batches}'
    )
