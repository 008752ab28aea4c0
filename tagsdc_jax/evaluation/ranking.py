"""A matrix of scores -> ranks and recalls, read in blocks. Numpy only."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tagsdc_jax.evaluation import recall

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

  def check(self) -> None:
    """Raises ValueError if a score is NaN or infinite."""
    for numbers in blocks(*self.matrix.shape):
      block = self.matrix[numbers]
      wrong = ~np.isfinite(block)
      if self.first_pass is not None:
        wrong &= ~np.isneginf(block)
      if np.any(wrong):
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f'scores must be finite, got {block[row, column]} for caption '
            f'{numbers[row]} and image {column}')

  def _keys(self, rows: np.ndarray, columns: np.ndarray,
            axis: int) -> np.ndarray:
    scores = np.asarray(self.matrix[rows, columns])
    if self.is_rounded:
      scores = recall.as_float16(scores)
    if self.first_pass is None:
      return scores
    return behind(scores, np.asarray(self.first_pass[rows, columns]), axis)


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


def text_ranks(scores: Scores,
               captions_of_image: Sequence[Sequence[int]]) -> np.ndarray:
  """Returns int [images with captions]; see `recall.text_ranks`."""
  return np.concatenate([
      recall.text_ranks(scores.columns(numbers),
                        [captions_of_image[i] for i in numbers])
      for numbers in blocks(*scores.matrix.shape[::-1])])


def evaluate_scores(
    scores: Scores, image_of_text: np.ndarray,
    captions_of_image: Sequence[Sequence[int]], *,
    image_recalls: Callable[[np.ndarray], dict[str, float]] = recall.recalls
    ) -> dict[str, Any]:
  """Returns recalls both ways in per cent, and their means.

  Args:
    scores: of all captions and images.
    image_of_text: int [captions].
    captions_of_image: rows of each image's captions.
    image_recalls: how image retrieval is counted.
  Returns:
    see `recall.with_means`.
  Raises:
    ValueError: if a score is NaN or infinite, or shapes do not fit.
  """
  expected = (len(image_of_text), len(captions_of_image))
  if scores.matrix.shape != expected:
    raise ValueError(f'scores must have shape {expected} (captions, images), '
                     f'got {scores.matrix.shape}')
  scores.check()
  return recall.with_means(
      image_recalls(image_ranks(scores, image_of_text)),
      recall.recalls(text_ranks(scores, captions_of_image)))
