"""Finds captions of other pictures that are near a sentence, by its words."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import scipy.sparse

from tagsdc_jax import errors
from tagsdc_jax.negative_files.exports.source import words

_T = TypeVar('_T')

# Words in more than this share of the captions tell little and cost most of the
# time; in small files all words count.
_COMMON, _FEW = 0.02, 1000
_CLOSE = 1e-6  # Similarities that differ by less are equal.
# Sentences to look up at a time.
BATCH = 256


class Neighbors:
  """Captions, to find those that are near a sentence.

  Attributes:
    pictures: int [captions], the number of each caption's picture.
    names: the pictures, by number.
  """

  def __init__(self, captions: Iterable[tuple[str, str]]) -> None:
    """Takes pairs of a picture's name and a caption, in the order of rows.

    Raises:
      UserError: if there are not at least two pictures.
    """
    self._numbers: dict[str, int] = {}
    pictures: dict[str, int] = {}
    of_row, sizes, found, texts = [], [0], [], []
    for picture, text in captions:
      of_row.append(pictures.setdefault(picture, len(pictures)))
      texts.append(hash(text.casefold()))
      numbers = sorted(
        {
          self._numbers.setdefault(word, len(self._numbers))
          for word in words(text)
        }
      )
      found.append(np.array(numbers, np.int32))
      sizes.append(len(numbers))
    if len(pictures) < 2:
      raise errors.UserError(
        'this format needs other pictures for each caption, but the file has '
        f'captions of {len(pictures)}; generate negatives of more pictures'
      )
    self.pictures = np.array(of_row, np.int64)
    self.names = tuple(pictures)
    # Equal for equal captions only; never compared otherwise.
    self._texts = np.array(texts, np.int64)
    columns = np.concatenate(found)
    self._weights = self._weigh(columns)
    matrix = self._matrix(columns, np.cumsum(sizes))
    self._by_word = matrix.T.tocsr()

  def nearest(
    self, sentences: Sequence[tuple[str, int]], number: int
  ) -> Iterator[list[int]]:
    """Yields, for each sentence, rows of other pictures, nearest first.

    Captions that share rare words with the sentence come first, by the cosine
    of their weighted words; then the rows that are nearest in the file. Rows
    with the same caption as the sentence's row come last. If there are too few
    rows, those found are repeated.

    Args:
      sentences: each with its row, whose picture is not wanted.
      number: of rows per sentence.
    """
    sizes, columns = [0], []
    for text, _ in sentences:
      known = {self._numbers.get(word, -1) for word in words(text)} - {-1}
      columns.append(np.array(sorted(known), np.int32))
      sizes.append(len(known))
    found = (
      self._matrix(np.concatenate(columns), np.cumsum(sizes)) @ self._by_word
    )
    for i, (_, row) in enumerate(sentences):
      here = slice(found.indptr[i], found.indptr[i + 1])
      yield self._ranked(found.indices[here], found.data[here], row, number)

  def _weigh(self, columns: np.ndarray) -> np.ndarray:
    """Returns the weight of each word: rare ones more, common ones nothing."""
    total = len(self.pictures)
    counts = np.bincount(columns, minlength=len(self._numbers))
    weights = np.log((1 + total) / counts).astype(np.float32)
    weights[counts > max(_FEW, math.ceil(_COMMON * total))] = 0
    return weights

  def _matrix(
    self, columns: np.ndarray, starts: np.ndarray
  ) -> scipy.sparse.csr_array:
    """Returns float [sentences, words], rows of length 1 or 0."""
    matrix = scipy.sparse.csr_array(
      (self._weights[columns], columns, starts),
      shape=(len(starts) - 1, len(self._weights)),
    )
    matrix.eliminate_zeros()
    lengths = np.sqrt((matrix * matrix).sum(axis=1))
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    matrix.data /= lengths[rows]
    return matrix

  def _ranked(
    self, rows: np.ndarray, values: np.ndarray, row: int, number: int
  ) -> list[int]:
    is_other = self._is_other(rows, row)
    rows, values = rows[is_other], values[is_other]
    if len(rows) > number:
      least = np.partition(values, -number)[-number]
      is_near = values >= least - _CLOSE
      rows, values = rows[is_near], values[is_near]
    order = np.lexsort((rows, np.abs(rows - row), -np.round(values / _CLOSE)))
    chosen: list[int] = rows[order[:number]].tolist()
    for is_wanted in (self._is_other, self._is_of_other_picture):
      if len(chosen) < number:
        chosen += self._around(row, number - len(chosen), chosen, is_wanted)
    return [chosen[i % len(chosen)] for i in range(number)]

  def _is_of_other_picture(self, rows: Any, row: int) -> Any:
    return self.pictures[rows] != self.pictures[row]

  def _is_other(self, rows: Any, row: int) -> Any:
    return self._is_of_other_picture(rows, row) & (
      self._texts[rows] != self._texts[row]
    )

  def _around(
    self,
    row: int,
    number: int,
    taken: Sequence[int],
    is_wanted: Callable[[int, int], bool],
  ) -> list[int]:
    """Returns the wanted rows that are nearest in the file, on both sides."""
    total = len(self.pictures)
    found = (
      other
      for distance in range(1, total)
      for other in (row + distance, row - distance)
      if 0 <= other < total and other not in taken and is_wanted(other, row)
    )
    return list(itertools.islice(found, number))


def batches(items: Iterable[_T]) -> Iterator[list[_T]]:
  """Yields lists of up to BATCH items."""
  rest = iter(items)
  while batch := list(itertools.islice(rest, BATCH)):
    yield batch
