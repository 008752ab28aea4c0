"""Turns captions and images of a data set into padded arrays."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int8, Int32

from tagsdc_jax import arrays
from tagsdc_jax.data import captions, dataset, phrases, regions

Numbers = Sequence[int] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Shapes:
  """Static sizes, taken from the data before anything is compiled."""

  max_tokens: int  # L - 2: [CLS] and [SEP] are not counted.
  max_regions: int  # R
  max_phrases: int  # P
  max_references: int  # Captions per image.


def shapes_of(data: dataset.RetrievalDataset) -> Shapes:
  """Returns the smallest sizes that fit every caption and image."""
  return Shapes(
    max_tokens=max(len(c.token_ids) for c in data.captions),
    max_regions=int(np.max(data.num_regions)),
    max_phrases=max(phrases.num_phrases(c) for c in data.captions),
    max_references=max(len(c) for c in data.captions_of_image),
  )


def texts(
  data: dataset.RetrievalDataset, numbers: Numbers, max_tokens: int
) -> arrays.Texts:
  """Returns the numbered captions, padded to L = max_tokens + 2."""
  rows = [data.captions[i].token_ids for i in numbers]
  token_ids = np.zeros((len(rows), max_tokens + 2), np.int32)
  for row, tokens in zip(token_ids, rows, strict=True):
    row[:] = captions.pad_caption(tokens, max_tokens, data.vocabulary)
  lengths = np.array([len(tokens) + 2 for tokens in rows], np.int32)
  return arrays.Texts(token_ids, lengths.reshape(len(rows)))


def images(
  data: dataset.RetrievalDataset, numbers: Numbers, max_regions: int
) -> arrays.Images:
  """Returns the numbered images, padded to R = max_regions."""
  count = len(numbers)
  features = np.zeros(
    (count, max_regions, data.feature_size), data.feature_dtype
  )
  boxes = np.zeros((count, max_regions, 7), np.float32)
  lengths = np.zeros(count, np.int32)
  for row, number in enumerate(numbers):
    read = data.read_regions(int(number))
    features[row], boxes[row], is_real = regions.pad_regions(read, max_regions)
    lengths[row] = np.sum(is_real)
  return arrays.Images(features, boxes, lengths)


def phrase_counts(
  data: dataset.RetrievalDataset, numbers: Numbers, shapes: Shapes
) -> Int8[np.ndarray, 'rows P L']:
  """Returns `phrases.phrase_counts` of the numbered captions."""
  return np.stack(
    [
      phrases.phrase_counts(
        caption.phrases,
        len(caption.token_ids),
        shapes.max_phrases,
        shapes.max_tokens + 2,
      )
      for caption in (data.captions[i] for i in numbers)
    ]
  )


def phrase_kinds(
  data: dataset.RetrievalDataset, numbers: Numbers, shapes: Shapes
) -> np.ndarray:
  """Returns the phrases' kinds, int8 [rows, P]; 0: no phrase, or unknown."""
  kinds = np.zeros((len(numbers), shapes.max_phrases), np.int8)
  for row, number in zip(kinds, numbers, strict=True):
    known = data.captions[number].phrase_kinds
    row[: len(known)] = known
  return kinds


def references(
  data: dataset.RetrievalDataset, image_numbers: Numbers, shapes: Shapes
) -> Int32[np.ndarray, 'rows references L']:
  """Returns all captions of each image, padded with [PAD]."""
  rows = np.full(
    (len(image_numbers), shapes.max_references, shapes.max_tokens + 2),
    data.vocabulary.pad,
    np.int32,
  )
  for row, image in zip(rows, image_numbers, strict=True):
    own = data.captions_of_image[image]
    row[: len(own)] = texts(data, own, shapes.max_tokens).token_ids
  return rows


def micro_batch(
  data: dataset.RetrievalDataset,
  shapes: Shapes,
  seed: int,
  number: int,
  numbers: Numbers,
  pool_texts: Numbers,
  pool_images: Numbers,
) -> arrays.MicroBatch:
  """Returns the micro-batch of the given captions and pool.

  Args:
    data: the split.
    shapes: static sizes.
    seed: of the run.
    number: index of the micro-batch within the run.
    numbers: numbers of B captions, the positives.
    pool_texts: numbers of N captions of other images.
    pool_images: numbers of N other images.
  Returns:
    a micro-batch of numpy arrays.
  """
  image_numbers = [data.captions[i].image for i in numbers]
  return arrays.MicroBatch(
    seed=np.uint32(seed),
    number=np.int32(number),
    texts=texts(data, numbers, shapes.max_tokens),
    images=images(data, image_numbers, shapes.max_regions),
    phrase_counts=phrase_counts(data, numbers, shapes),
    phrase_kinds=phrase_kinds(data, numbers, shapes),
    references=references(data, image_numbers, shapes),
    pool_texts=texts(data, pool_texts, shapes.max_tokens),
    pool_images=images(data, pool_images, shapes.max_regions),
    caption_numbers=np.array(numbers, np.int32),
    image_numbers=np.array(image_numbers, np.int32),
  )
