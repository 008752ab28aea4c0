"""Compiled programs that write sentences, and that score any sentences.

Both run on all devices of a process, a micro-batch of captions on each, and
leave their results there.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int32

from tagsdc_jax import arrays, settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.negatives import candidates as candidates_of
from tagsdc_jax.negatives import source
from tagsdc_jax.runs import setup
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import keys


@struct.dataclass
class Sentences:
  """Sentences of each caption, of all sources after each other."""

  texts: arrays.Texts  # [B, G, L]
  is_valid: Bool[Array, 'B G']
  source: Int32[Array, 'B G']  # Number of the source.


@dataclasses.dataclass(frozen=True)
class Network:
  """A network on the devices.

  Attributes:
    config: settings with the data's sizes.
    params: parameters, replicated.
    start_params: those that `static_refill` writes with, replicated; None if
      no source needs them.
    devices: this process's.
  """

  config: settings.Settings
  params: Any
  start_params: Any
  devices: tuple[jax.Device, ...]


class Programs:
  """The programs for one network and one data set."""

  def __init__(
    self,
    network: Network,
    data: dataset.RetrievalDataset,
    shapes: assembling.Shapes,
    sources: Sequence[source.Source],
    draw: int,
  ) -> None:
    """Creates the programs; each is compiled at its first call.

    Args:
      network: scores, and writes.
      data: whose lengths determine the length buckets.
      shapes: static sizes of the micro-batches.
      sources: that write.
      draw: sentences are a function of it, and of the seed and number of the
        micro-batch.
    """
    own = setup.make_engine(setup.make_task(network.config, data, shapes))
    self._network = network
    self._writer = _Writer(own, tuple(sources), draw)
    self._write = _over_devices(self._writer, network.devices)
    self._score = _over_devices(_Scorer(own), network.devices)

  def num_sentences(self, batch: arrays.MicroBatch) -> int:
    """Returns G, for a micro-batch of one device."""
    params = parallel.of_one_device(self._network.params)
    shape = jax.eval_shape(self._writer, params, params, batch)
    return int(shape.is_valid.shape[1])

  def write(self, batch: arrays.MicroBatch) -> Sentences:
    """Returns sentences of the captions of each device's micro-batch.

    Args:
      batch: on the devices; its pool is not read.
    """
    network = self._network
    start = network.start_params
    if start is None:
      start = network.params
    return self._write(network.params, start, batch)

  def score(
    self,
    batch: arrays.MicroBatch,
    texts: arrays.Texts,
    is_needed: Bool[Array, 'devices B G'],
  ) -> Float[Array, 'devices B G+1']:
    """Returns raw matching scores with the captions' images.

    Args:
      batch: on the devices.
      texts: sentences, [devices, B, G, L].
      is_needed: the others get 0.
    Returns:
      the score of each caption, then those of its sentences.
    """
    return self._score(self._network.params, batch, texts, is_needed)


@functools.lru_cache(maxsize=8)
def _over_devices(
  program: Callable, devices: tuple[jax.Device, ...]
) -> Callable:
  """Returns the same for networks that differ in their parameters only."""
  return parallel.pmap_function(program, devices)


@dataclasses.dataclass(frozen=True)
class _Writer:
  engine: Any
  sources: tuple[source.Source, ...]
  draw: int

  def __call__(
    self, params: Any, start_params: Any, batch: arrays.MicroBatch
  ) -> Sentences:
    own = keys.micro_batch_keys(batch.seed, jnp.int32(self.draw), batch.number)
    _, proposed = candidates_of.propose(
      self.sources,
      source.Inputs(
        self.engine,
        params,
        start_params,
        batch,
        # The key has the run's dropout applied while writing, as in training.
        source.Keys(own.mask, own.refill, own.dropout),
      ),
    )
    every = [one.sentences for one in proposed if one.sentences is not None]
    join = lambda arrays: jnp.concatenate(arrays, axis=1)
    return Sentences(
      arrays.Texts(
        join([one.token_ids for one in every]),
        join([one.num_tokens for one in every]),
      ),
      join([one.is_valid for one in every]),
      join(
        [
          jnp.full(one.is_valid.shape, number, jnp.int32)
          for number, one in enumerate(every)
        ]
      ),
    )


@dataclasses.dataclass(frozen=True)
class _Scorer:
  engine: Any

  def __call__(
    self,
    params: Any,
    batch: arrays.MicroBatch,
    texts: arrays.Texts,
    is_needed: Bool[Array, 'B G'],
  ) -> Float[Array, 'B G+1']:
    count = is_needed.shape[1] + 1
    is_needed = jnp.pad(is_needed, ((0, 0), (1, 0)), constant_values=True)
    flat = jax.tree.map(
      lambda own, others: jnp.concatenate(
        [own[:, None], others], axis=1
      ).reshape(-1, *own.shape[1:]),
      batch.texts,
      texts,
    )
    rows = jnp.arange(is_needed.size, dtype=jnp.int32)
    return self.engine.score(
      params,
      self.engine.embed_text(params, flat),
      self.engine.embed_image(params, batch.images),
      rows,
      rows // count,
      is_needed.reshape(-1),
    ).reshape(is_needed.shape)
