"""Opens the network of a run with the test split, and what it writes."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import assembling, dataset, opening
from tagsdc_jax.evaluation import equal_sentences, matrix, recall
from tagsdc_jax.runs import (
  example_negatives,
  generating,
  loading,
  sentence_batches,
  sentence_programs,
)
from tagsdc_jax.runtime import parallel, progress
from tagsdc_jax.studies import study
from tagsdc_jax.training import checkpoints

SPLIT = 'test'
# Sentences written for each caption: copies, and refills of each.
COPIES = SAMPLES = 10
# Of the draws of sentences; the same for all networks.
_SEED = _DRAW = 0
# Parts of the settings that decide what is written.
_DECISIVE = ('model.', 'negatives.', 'compute.', 'extensions')


class Opened(NamedTuple):
  """A trained network with the test split."""

  network: loading.Network
  data: dataset.RetrievalDataset
  devices: list[jax.Device]

  @property
  def params(self) -> Any:
    """Parameters, replicated over the devices."""
    return parallel.replicate(self.network.params, self.devices)


class Captioned(NamedTuple):
  """A caption with sentences written for it.

  Attributes:
    number: of the caption.
    image: number of its picture.
    score: raw matching score of the caption.
    sentences: token ids of each, without [CLS] and [SEP].
    scores: float32 [sentences], raw matching scores.
  """

  number: int
  image: int
  score: float
  sentences: list[np.ndarray]
  scores: np.ndarray

  @property
  def hardest(self) -> int:
    """Place of the sentence that matches best; there must be one."""
    return int(np.argmax(self.scores))


@dataclasses.dataclass(frozen=True)
class Subject:
  """What is measured; what several measures need is computed once.

  Attributes:
    trained: the network.
    start: that which all trainings of the study started from.
    judge: folder of a causal language model; '': a trigram model of the
      training captions.
  """

  trained: study.Trained
  start: study.Trained
  judge: str

  @functools.cached_property
  def opened(self) -> Opened:
    """The network and the test split."""
    return open_test(self.trained)

  @functools.cached_property
  def scores(self) -> np.ndarray:
    """Raw matching scores, float32 [captions, images]."""
    network, data, devices = self.opened
    pairs = len(data.captions) * len(data.image_ids)
    with progress.progress_bar(pairs, f'ranking {data.name}', 'pairs') as bar:
      scores = matrix.score_matrix(
        network.model,
        self.opened.params,
        data,
        network.settings.evaluation,
        devices=devices,
        progress=bar.update,
      )
    if network.settings.quirks.float16_scores:
      return recall.as_float16(scores)
    return scores

  @functools.cached_property
  def text_ranks(self) -> tuple[list[int], np.ndarray]:
    """Numbers of pictures with captions; rank of each one's best, from 0."""
    data = self.opened.data
    own = data.captions_of_image
    twins = equal_sentences.find(data.captions)
    ranks = recall.text_ranks(self.scores, own, [twins.twins(x) for x in own])
    return [image for image, captions in enumerate(own) if captions], ranks

  @functools.cached_property
  def written(self) -> list[Captioned]:
    """All captions with refills of this network."""
    return list(write(self.opened))


def open_test(trained: study.Trained) -> Opened:
  """Returns a run's best checkpoint and the test split."""
  loaded = checkpoints.load(trained.path)
  config = trained.config
  data = opening.open_split(config.data, SPLIT, config.extensions)
  network = loading.open_network(loaded, config, data)
  return Opened(network, data, parallel.local_devices(config.num_devices))


def write(
  opened: Opened, writer: Opened | None = None, source: str = 'mask_refill'
) -> Iterator[Captioned]:
  """Yields all captions with sentences, distinct and none the picture's own.

  Args:
    opened: scores them.
    writer: writes them; None: `opened`.
    source: the source of negatives that writes.
  """
  data = opened.data
  writer = writer or opened
  shapes = assembling.shapes_of(data)
  programs = [
    sentence_programs.Programs(
      sentence_programs.Network(
        _for_writing(one), one.params, None, tuple(one.devices)
      ),
      data,
      shapes,
      example_negatives.writers(one.network.settings, (source,)),
      _DRAW,
    )
    for one in ([opened] if writer is opened else [writer, opened])
  ]
  batches = sentence_batches.for_writing(
    data, shapes, _SEED, opened.devices, programs[0]
  )
  count = len(data.captions)
  with progress.progress_bar(count, f'writing with {source}', 'captions') as (
    bar
  ):
    for group in sentence_batches.write(
      batches, programs[0], programs[-1:], range(count)
    ):
      yield from (_captioned(data, found) for found in group)
      bar.update(len(group))


def _for_writing(opened: Opened) -> settings.Settings:
  """Returns settings that write as many sentences whatever the run's are.

  Without what does not decide them, so that runs share compiled programs.
  """
  flat = settings.flatten(opened.network.settings)
  return loading.overridden(
    settings.Settings(),
    {
      **{name: flat[name] for name in flat if name.startswith(_DECISIVE)},
      **generating.OF_TRAINING,
      'negatives.num_copies': COPIES,
      'negatives.num_samples': SAMPLES,
    },
  )


def _captioned(
  data: dataset.RetrievalDataset, found: sentence_batches.Written
) -> Captioned:
  rows = np.flatnonzero(found.is_valid)
  return Captioned(
    found.number,
    data.captions[found.number].image,
    float(found.scores[-1, 0]),
    [found.token_ids[row, 1 : found.num_tokens[row] - 1] for row in rows],
    found.scores[-1, 1 + rows],
  )
