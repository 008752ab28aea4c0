"""A matrix of scores -> ranks and recalls, read in blocks. Numpy only."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import equal_sentences, recall

# Numbers of the matrix that are looked at together; some copies are made.
_BLOCK = 2 ** 22


@dataclasses.dataclass(frozen=True)
class Scores:
  """Scores of all captions and images, some perhaps by a first pass only.

  Attributes:
    matrix: float32 [captions, images], may lie in a file; -inf where the
      network has not scored.
    first_pass: float [captions, images]; orders what the network has not
      scored, behind all that it has. None if it has scored everything.
    is_rounded: whether scores are rounded to float16, as in the release.
  """
  matrix: np.ndarray
  first_pass: np.ndarray | None = None
  is_rounded: bool = False

  def rows(self, captions: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns float [captions, images]; the higher ranks first, per row."""
    return self._keys(np.asarray(captions)[:, None],
                      np.arange(self.matrix.shape[1])[None], 1)

  def columns(self, images: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns float [captions, images]; the higher ranks first, per column."""
    return self._keys(np.arange(self.matrix.shape[0])[:, None],
                      np.asarray(images)[None], 0)

  def subset(self, captions: np.ndarray, images: np.ndarray) -> 'Scores':
    """Returns the scores of some captions and images, in memory."""
    place = np.ix_(captions, images)
    return dataclasses.replace(
        self, matrix=self.matrix[place],
        first_pass=(None if self.first_pass is None
                    else self.first_pass[place]))

  def check(self, data: dataset.RetrievalDataset) -> None:
    """Raises UserError if a score of a split is NaN or infinite."""
    for numbers in blocks(*self.matrix.shape):
      block = self.matrix[numbers]
      wrong = ~np.isfinite(block)
      if self.first_pass is not None:
        wrong &= ~np.isneginf(block)
      if np.any(wrong):
        row, column = np.argwhere(wrong)[0]
        raise not_finite(data, block[row, column], int(numbers[row]),
                         int(column))

  def _keys(self, rows: np.ndarray, columns: np.ndarray,
            axis: int) -> np.ndarray:
    scores = np.asarray(self.matrix[rows, columns])
    if self.is_rounded:
      scores = recall.as_float16(scores)
    if self.first_pass is None:
      return scores
    return behind(scores, np.asarray(self.first_pass[rows, columns]), axis)


def not_finite(data: dataset.RetrievalDataset, score: float, caption: int,
               image: int) -> errors.UserError:
  """Returns the error that tells of a score that is NaN or infinite."""
  return errors.UserError(
      f'scores must be finite, got {score} for caption '
      f'{data.captions[caption].caption_id} and image {data.image_ids[image]} '
      f'of {data.name}; the network\'s numbers become too large there, or in a '
      'pair scored together with it: give other weights, or look at these '
      'region features')


def behind(scores: np.ndarray, first_pass: np.ndarray,
           axis: int) -> np.ndarray:
  """Returns scores whose missing ones rank last, as the first pass says.

  Args:
    scores: float32 [n, m], -inf where missing.
    first_pass: float [n, m].
    axis: along which they will be ranked.
  Returns:
    float64 [n, m]; equal where the first pass is equal.
  """
  order = np.argsort(first_pass, axis=axis, kind='stable')
  ascending = np.take_along_axis(first_pass, order, axis)
  steps = np.cumsum(np.diff(ascending, axis=axis) > 0, axis=axis)
  pad = [(1, 0) if i == axis else (0, 0) for i in range(2)]
  places = np.zeros(scores.shape)
  np.put_along_axis(places, order, np.pad(steps, pad).astype(float), axis)
  is_scored = np.isfinite(scores)
  least = np.min(scores, axis=axis, keepdims=True, initial=0, where=is_scored)
  return np.where(is_scored, scores,
                  least + places - (scores.shape[axis] + 1.0))


def blocks(number: int, other: int) -> Iterator[np.ndarray]:
  """Yields the numbers of rows, or columns, that are looked at together.

  Args:
    number: how many rows.
    other: the length of each.
  """
  size = max(1, _BLOCK // max(other, 1))
  for start in range(0, number, size):
    yield np.arange(start, min(start + size, number))


def image_ranks(scores: Scores, image_of_text: np.ndarray) -> np.ndarray:
  """Returns int [captions]; see `recall.image_ranks`."""
  return np.concatenate([
      recall.image_ranks(scores.rows(numbers), image_of_text[numbers])
      for numbers in blocks(*scores.matrix.shape)])


def text_ranks(scores: Scores, captions_of_image: Sequence[Sequence[int]],
               sentences: equal_sentences.Sentences | None = None
               ) -> np.ndarray:
  """Returns int [images with captions]; see `recall.text_ranks`.

  Args:
    scores: of all captions and images.
    captions_of_image: rows of each image's captions.
    sentences: of the captions; None if every tie is lost.
  """
  return np.concatenate([
      recall.text_ranks(
          scores.columns(numbers), [captions_of_image[i] for i in numbers],
          None if sentences is None else [
              sentences.twins(captions_of_image[i]) for i in numbers])
      for numbers in blocks(*scores.matrix.shape[::-1])])


def equal_ranks(scores: Scores, image_of_text: np.ndarray,
                captions_of_image: Sequence[Sequence[int]],
                sentences: equal_sentences.Sentences,
                images: np.ndarray, texts: np.ndarray
                ) -> tuple[np.ndarray, np.ndarray]:
  """Returns ranks with equal sentences taken as right.

  Args:
    scores: of all captions and images.
    image_of_text: int [captions].
    captions_of_image: rows of each image's captions.
    sentences: of the captions.
    images: from `image_ranks`.
    texts: from `text_ranks`.
  """
  images, texts = np.array(images), np.array(texts)
  right = {caption: np.unique(image_of_text[group])
           for group in sentences.repeated.values() for caption in group}
  again = np.array([c for c in sorted(right) if len(right[c]) > 1], int)
  for part in blocks(len(again), scores.matrix.shape[1]):
    images[again[part]] = recall.text_ranks(
        scores.rows(again[part]).T, [right[c] for c in again[part]])
  usable = [i for i, own in enumerate(captions_of_image) if len(own)]
  wide = {place: sentences.with_equal(np.array(captions_of_image[image]))
          for place, image in enumerate(usable)
          if len(sentences.twins(captions_of_image[image]))}
  places = np.array(list(wide), int)
  for part in blocks(len(places), scores.matrix.shape[0]):
    texts[places[part]] = recall.text_ranks(
        scores.columns(np.array(usable)[places[part]]),
        [wide[place] for place in places[part]])
  return images, texts


def evaluate_scores(
    scores: Scores, image_of_text: np.ndarray,
    captions_of_image: Sequence[Sequence[int]],
    sentences: equal_sentences.Sentences | None = None, *,
    image_recalls: Callable[[np.ndarray], dict[str, float]] = recall.recalls
    ) -> dict[str, Any]:
  """Returns recalls both ways in per cent, and their means.

  Args:
    scores: of all captions and images.
    image_of_text: int [captions].
    captions_of_image: rows of each image's captions.
    sentences: which captions are equal: a tie with an equal caption of
      another image is not lost. None, and rounded scores, as the release has
      them: it is lost as every other.
    image_recalls: how image retrieval is counted.
  Returns:
    see `recall.with_means`; with `equal_sentences`, the same, where it makes
    a difference that equal sentences are taken as right.
  Raises:
    ValueError: if shapes do not fit.
  """
  expected = (len(image_of_text), len(captions_of_image))
  if scores.matrix.shape != expected:
    raise ValueError(f'scores must have shape {expected} (captions, images), '
                     f'got {scores.matrix.shape}')
  if scores.is_rounded:
    sentences = None

  def count(images: np.ndarray, texts: np.ndarray) -> dict[str, Any]:
    return recall.with_means(image_recalls(images), recall.recalls(texts))

  ranks = (image_ranks(scores, image_of_text),
           text_ranks(scores, captions_of_image, sentences))
  result = count(*ranks)
  if sentences is None or not sentences.repeated:
    return result
  return recall.with_equal(result, count(*equal_ranks(
      scores, image_of_text, captions_of_image, sentences, *ranks)))
