"""Runs captions through the programs that write and score sentences."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from tagsdc_jax import arrays
from tagsdc_jax.data import assembling, captions, dataset
from tagsdc_jax.evaluation import matrix
from tagsdc_jax.runs import sentence_programs
from tagsdc_jax.runtime import parallel

# Sentences of a micro-batch, about; more do not run faster.
_SENTENCES = 2048
_MOST_CAPTIONS = 64


class Written(NamedTuple):
  """A caption with its sentences, as numpy arrays.

  Attributes:
    number: of the caption.
    token_ids: int32 [G, L], with [CLS], [SEP] and padding.
    num_tokens: int32 [G], with [CLS] and [SEP].
    is_valid: bool [G].
    source: int32 [G], number of the source.
    scores: float32 [networks, G + 1], the caption's first.
  """

  number: int
  token_ids: np.ndarray
  num_tokens: np.ndarray
  is_valid: np.ndarray
  source: np.ndarray
  scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class Batches:
  """Micro-batches of a data set.

  Attributes:
    data: the captions.
    shapes: static sizes.
    seed: draws are a function of it.
    positives: captions of a micro-batch.
    devices: this process's.
  """

  data: dataset.RetrievalDataset
  shapes: assembling.Shapes
  seed: int
  positives: int
  devices: Sequence[jax.Device]

  def make(
    self, numbers: Sequence[Sequence[int]]
  ) -> tuple[np.ndarray, arrays.MicroBatch]:
    """Returns one micro-batch per device.

    Args:
      numbers: captions of each micro-batch, at most `positives`; fewer
        micro-batches than devices are filled up with the last.
    Returns:
      caption numbers, int [devices, B], those that fill up repeated; and the
      micro-batches, numpy arrays [devices, ...].
    """
    missing = len(self.devices) - len(numbers)
    rows = np.stack(
      [
        np.resize(own, self.positives)
        for own in [*numbers, *[numbers[-1]] * missing]
      ]
    )
    # Draws depend on the number of the first caption, not on the devices.
    made = [
      assembling.micro_batch(
        self.data,
        self.shapes,
        self.seed,
        int(own[0]),
        own.tolist(),
        own[:1].tolist(),
        [self.data.captions[own[0]].image],
      )
      for own in rows
    ]
    return rows, jax.tree.map(lambda *x: np.stack(x), *made)

  def texts(
    self, sentences: Sequence[Sequence[np.ndarray]], count: int
  ) -> tuple[arrays.Texts, np.ndarray]:
    """Returns padded sentences of each caption.

    Args:
      sentences: token ids of a few sentences per caption.
      count: the most of a caption.
    Returns:
      texts [captions, count, L], and which are there.
    """
    length = self.shapes.max_tokens
    vocabulary = self.data.vocabulary
    token_ids = np.full(
      (len(sentences), count, length + 2), vocabulary.pad, np.int32
    )
    lengths = np.ones((len(sentences), count), np.int32)
    is_there = np.zeros((len(sentences), count), bool)
    for row, own in enumerate(sentences):
      for place, ids in enumerate(own[:count]):
        token_ids[row, place] = captions.pad_caption(ids, length, vocabulary)
        lengths[row, place] = len(ids) + 2
        is_there[row, place] = True
    return arrays.Texts(token_ids, lengths), is_there


def positives_of(num_sentences: int) -> int:
  """Returns the captions of a micro-batch, for sentences per caption."""
  return min(max(1, _SENTENCES // num_sentences), _MOST_CAPTIONS)


def for_writing(
  data: dataset.RetrievalDataset,
  shapes: assembling.Shapes,
  seed: int,
  devices: Sequence[jax.Device],
  writer: sentence_programs.Programs,
) -> Batches:
  """Returns micro-batches of as many captions as suit what is written.

  Args:
    data: the captions.
    shapes: static sizes.
    seed: draws are a function of it.
    devices: this process's.
    writer: writes.
  """
  one = Batches(data, shapes, seed, 1, devices[:1])
  batch = jax.tree.map(lambda x: x[0], one.make([[0]])[1])
  return Batches(
    data, shapes, seed, positives_of(writer.num_sentences(batch)), devices
  )


def write(
  batches: Batches,
  writer: sentence_programs.Programs,
  scorers: Sequence[sentence_programs.Programs],
  numbers: Sequence[int],
) -> Iterator[list[Written]]:
  """Yields captions with sentences and scores, in order, a few at a time.

  While the devices work, the sentences before are read.

  Args:
    batches: of the captions.
    writer: writes.
    scorers: score, each with its network.
    numbers: of the captions.
  """
  size = batches.positives
  groups = [
    list(numbers[start : start + size])
    for start in range(0, len(numbers), size)
  ]
  num_devices = len(batches.devices)

  def started() -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(groups), num_devices):
      own = groups[start : start + num_devices]
      rows, made = batches.make(own)
      batch = parallel.put(made, batches.devices)
      found = writer.write(batch)
      scores = [
        one.score(batch, found.texts, found.is_valid) for one in scorers
      ]
      yield [len(group) for group in own], rows, found, scores

  for one in matrix.ahead(started(), 1):
    yield _fetched(*one)


def _fetched(
  counts: Sequence[int],
  rows: np.ndarray,
  found: sentence_programs.Sentences,
  scores: Sequence[jax.Array],
) -> list[Written]:
  whole = jax.tree.map(parallel.gather, found)
  every = np.stack([parallel.gather(x) for x in scores])
  done = []
  for device, count in enumerate(counts):
    for place in range(count):
      own = jax.tree.map(lambda x, d=device, p=place: x[d, p], whole)
      done.append(
        Written(
          int(rows[device, place]),
          own.texts.token_ids,
          own.texts.num_tokens,
          own.is_valid,
          own.source,
          every[:, device, place],
        )
      )
  return done
