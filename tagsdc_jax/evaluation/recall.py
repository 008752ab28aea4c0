"""Ranks and recall at k of a score matrix, in both directions. Numpy only."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import equal_sentences

CUTOFFS = (1, 5, 10)
WAYS = ('image_retrieval', 'text_retrieval')
# Entries of the matrix processed at a time; a few copies of them are made.
_BLOCK = 2**22


@dataclasses.dataclass(frozen=True)
class Scores:
  """Scores of all captions and images, some possibly only by a first pass.

  Attributes:
    matrix: float32 [captions, images], may be memory-mapped; -inf for pairs
      that the network has not scored.
    first_pass: float [captions, images]; orders the pairs that the network has
      not scored, behind all that it has. None if it has scored all.
    is_rounded: whether scores are rounded to float16, as in the release.
  """

  matrix: np.ndarray
  first_pass: np.ndarray | None = None
  is_rounded: bool = False

  def rows(self, captions: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns float [captions, images]; higher ranks first within a row."""
    return self._keys(
      np.asarray(captions)[:, None], np.arange(self.matrix.shape[1])[None], 1
    )

  def columns(self, images: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns float [captions, images]; higher ranks first within a column."""
    return self._keys(
      np.arange(self.matrix.shape[0])[:, None], np.asarray(images)[None], 0
    )

  def subset(self, captions: np.ndarray, images: np.ndarray) -> 'Scores':
    """Returns the scores of some captions and images, in memory."""
    place = np.ix_(captions, images)
    return dataclasses.replace(
      self,
      matrix=self.matrix[place],
      first_pass=(None if self.first_pass is None else self.first_pass[place]),
    )

  def check(self, data: dataset.RetrievalDataset) -> None:
    """Raises UserError if a score of the split is NaN or infinite."""
    for numbers in blocks(*self.matrix.shape):
      block = self.matrix[numbers]
      wrong = ~np.isfinite(block)
      if self.first_pass is not None:
        wrong &= ~np.isneginf(block)
      if np.any(wrong):
        row, column = np.argwhere(wrong)[0]
        raise not_finite(
          data, block[row, column], int(numbers[row]), int(column)
        )

  def image_ranks(self, image_of_text: np.ndarray) -> np.ndarray:
    """Returns int [captions]; see `image_ranks`."""
    return np.concatenate(
      [
        image_ranks(self.rows(numbers), image_of_text[numbers])
        for numbers in blocks(*self.matrix.shape)
      ]
    )

  def text_ranks(
    self,
    captions_of_image: Sequence[Sequence[int]],
    sentences: equal_sentences.Sentences | None = None,
  ) -> np.ndarray:
    """Returns int [images with captions]; see `text_ranks`.

    Args:
      captions_of_image: rows of each image's captions.
      sentences: of the captions; None if every tie counts against the model.
    """
    return np.concatenate(
      [
        text_ranks(
          self.columns(numbers),
          [captions_of_image[i] for i in numbers],
          None
          if sentences is None
          else [sentences.twins(captions_of_image[i]) for i in numbers],
        )
        for numbers in blocks(*self.matrix.shape[::-1])
      ]
    )

  def _keys(
    self, rows: np.ndarray, columns: np.ndarray, axis: int
  ) -> np.ndarray:
    scores = np.asarray(self.matrix[rows, columns])
    if self.is_rounded:
      scores = as_float16(scores)
    if self.first_pass is None:
      return scores
    return behind(scores, np.asarray(self.first_pass[rows, columns]), axis)


def not_finite(
  data: dataset.RetrievalDataset, score: float, caption: int, image: int
) -> errors.UserError:
  """Returns the error for a score that is NaN or infinite."""
  return errors.UserError(
    f'scores must be finite, got {score} for caption '
    f'{data.captions[caption].caption_id} and image {data.image_ids[image]} '
    f"of {data.name}; the network's activations overflow there, or in a "
    'pair scored together with it: give other weights, or check these region '
    'features'
  )


def behind(scores: np.ndarray, first_pass: np.ndarray, axis: int) -> np.ndarray:
  """Returns scores with missing ones ranked last, in the first pass's order.

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
  return np.where(
    is_scored, scores, least + places - (scores.shape[axis] + 1.0)
  )


def blocks(number: int, other: int) -> Iterator[np.ndarray]:
  """Yields the numbers of rows, or columns, to process together.

  Args:
    number: number of rows.
    other: length of a row.
  """
  size = max(1, _BLOCK // max(other, 1))
  for start in range(0, number, size):
    yield np.arange(start, min(start + size, number))


def image_ranks(scores: np.ndarray, image_of_text: np.ndarray) -> np.ndarray:
  """Returns the rank of each caption's image, from 0, int [texts].

  Pessimistic on ties: an image with an equal score counts as better.

  Args:
    scores: float [texts, images].
    image_of_text: int [texts].
  """
  own = scores[np.arange(len(scores)), image_of_text]
  return np.sum(scores >= own[:, None], axis=1) - 1


def text_ranks(
  scores: np.ndarray,
  captions_of_image: Sequence[Sequence[int] | np.ndarray],
  twins: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
  """Returns the best rank of each image's captions, int [images].

  Images without captions are skipped. Pessimistic on ties with captions of
  other images; the image's own captions do not compete with each other.

  Args:
    scores: float [texts, images].
    captions_of_image: rows of each image's captions, any number of them. More
      generally, the right rows of each column.
    twins: for each image int [n, 2], its captions and others that are word for
      word the same, see `equal_sentences`; these ties do not count against
      the model.
  """
  ranks = []
  for image, own in enumerate(captions_of_image):
    if not len(own):
      continue
    column = scores[:, image]
    own_scores = column[list(own)]
    best = np.max(own_scores)
    rank = np.sum(column >= best) - np.sum(own_scores >= best)
    if twins is not None and len(twins[image]):
      one, other = twins[image].T
      is_tie = (column[one] == best) & (column[other] == best)
      rank -= len(np.unique(other[is_tie]))
    ranks.append(rank)
  return np.array(ranks, np.int64)


def recalls(ranks: np.ndarray) -> dict[str, float]:
  """Returns R@1, R@5 and R@10 in percent as `r1`, `r5`, `r10`."""
  return {f'r{k}': 100.0 * float(np.mean(ranks < k)) for k in CUTOFFS}


def overcounted_recalls(ranks: np.ndarray) -> dict[str, float]:
  """Returns R@1, R@5 and R@10 as the release counts its image retrieval.

  For every caption whose image ranks among the top ten, the release lists the
  caption's number and the image's rank, and then counts all numbers below k,
  so that such captions among the first k count twice. May exceed 100.

  Args:
    ranks: int [texts], in the data's order; see `image_ranks`.
  Reference: utils/itm_eval.py of the release, docs/quirks.md, 40.
  """
  is_listed = ranks < max(CUTOFFS)
  return {
    f'r{k}': 100.0
    * float(np.sum(ranks < k) + np.sum(is_listed[:k]))
    / len(ranks)
    for k in CUTOFFS
  }


def as_float16(scores: np.ndarray) -> np.ndarray:
  """Returns the scores rounded to float16, as the release stores them.

  Similar scores become equal, and ties count against the model; the release
  orders them arbitrarily (docs/quirks.md, 41).
  """
  return scores.astype(np.float16).astype(np.float32)


def with_means(
  image_retrieval: dict[str, float], text_retrieval: dict[str, float]
) -> dict[str, Any]:
  """Returns the recalls of both directions with their means, in percent.

  Returns:
    `image_retrieval`, `text_retrieval` as given; `image_mean`, `text_mean`
    over the cutoffs; `mean_r1`, which selects the best checkpoint; and `rsum`,
    the sum of all six.
  """
  result: dict[str, Any] = {
    'image_retrieval': image_retrieval,
    'text_retrieval': text_retrieval,
  }
  sums = [sum(result[way].values()) for way in WAYS]
  return result | {
    **{
      f'{way.removesuffix("_retrieval")}_mean': total / len(CUTOFFS)
      for way, total in zip(WAYS, sums)
    },
    'mean_r1': mean_r1(result),
    'rsum': sum(sums),
  }


def mean_r1(result: dict[str, Any]) -> float:
  """Returns the mean R@1 of both directions."""
  return sum(result[way]['r1'] for way in WAYS) / len(WAYS)


def with_equal(result: dict[str, Any], equal: dict[str, Any]) -> dict[str, Any]:
  """Returns a result with its second count, if the two differ.

  Args:
    result: recalls or precisions, counted like published numbers.
    equal: the same with equal sentences counted as right; returned under
      `equal_sentences`.
  """
  return result | ({} if equal == result else {'equal_sentences': equal})


def _equal_ranks(
  scores: Scores,
  image_of_text: np.ndarray,
  captions_of_image: Sequence[Sequence[int]],
  sentences: equal_sentences.Sentences,
  images: np.ndarray,
  texts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns ranks with equal sentences counted as right.

  Args:
    scores: of all captions and images.
    image_of_text: int [captions].
    captions_of_image: rows of each image's captions.
    sentences: of the captions.
    images: from `Scores.image_ranks`.
    texts: from `Scores.text_ranks`.
  """
  images, texts = np.array(images), np.array(texts)
  right = {
    caption: np.unique(image_of_text[group])
    for group in sentences.repeated.values()
    for caption in group
  }
  again = np.array([c for c in sorted(right) if len(right[c]) > 1], int)
  for part in blocks(len(again), scores.matrix.shape[1]):
    images[again[part]] = text_ranks(
      scores.rows(again[part]).T, [right[c] for c in again[part]]
    )
  usable = [i for i, own in enumerate(captions_of_image) if len(own)]
  wide = {
    place: sentences.with_equal(np.array(captions_of_image[image]))
    for place, image in enumerate(usable)
    if len(sentences.twins(captions_of_image[image]))
  }
  places = np.array(list(wide), int)
  for part in blocks(len(places), scores.matrix.shape[0]):
    texts[places[part]] = text_ranks(
      scores.columns(np.array(usable)[places[part]]),
      [wide[place] for place in places[part]],
    )
  return images, texts


def evaluate_scores(
  scores: Scores,
  image_of_text: np.ndarray,
  captions_of_image: Sequence[Sequence[int]],
  sentences: equal_sentences.Sentences | None = None,
  *,
  image_recalls: Callable[[np.ndarray], dict[str, float]] = recalls,
) -> dict[str, Any]:
  """Returns recalls in both directions in percent, and their means.

  Args:
    scores: of all captions and images.
    image_of_text: int [captions].
    captions_of_image: rows of each image's captions.
    sentences: which captions are equal; a tie with an equal caption of another
      image does not count against the model. With None, or with rounded
      scores as in the release, it does, like every other tie.
    image_recalls: computes recalls from the ranks of image retrieval.
  Returns:
    see `with_means`; and `equal_sentences`, the same with equal sentences
    counted as right, if that makes a difference.
  Raises:
    ValueError: if the shapes do not match.
  """
  expected = (len(image_of_text), len(captions_of_image))
  if scores.matrix.shape != expected:
    raise ValueError(
      f'scores must have shape {expected} (captions, images), '
      f'got {scores.matrix.shape}'
    )
  if scores.is_rounded:
    sentences = None

  def count(images: np.ndarray, texts: np.ndarray) -> dict[str, Any]:
    return with_means(image_recalls(images), recalls(texts))

  ranks = (
    scores.image_ranks(image_of_text),
    scores.text_ranks(captions_of_image, sentences),
  )
  result = count(*ranks)
  if sentences is None or not sentences.repeated:
    return result
  return with_equal(
    result,
    count(
      *_equal_ranks(scores, image_of_text, captions_of_image, sentences, *ranks)
    ),
  )


def chance(num_images: int, num_captions: Sequence[float]) -> dict[str, Any]:
  """Returns the expected recalls of random scores, see `with_means`.

  Args:
    num_images: number of all images, with and without captions.
    num_captions: number of each image's captions; images without have no rank,
      see `text_ranks`.
  """
  own = np.array([number for number in num_captions if number], float)
  total = float(np.sum(own))
  found = {}
  for k in CUTOFFS:
    # Probability that none of an image's captions is among the first k.
    missed = np.ones_like(own)
    for place in range(min(k, int(total))):
      missed *= np.maximum(0, total - own - place) / (total - place)
    found[f'r{k}'] = 100 * float(np.mean(1 - missed)) if len(own) else 0.0
  return with_means(
    {f'r{k}': 100 * min(1.0, k / num_images) for k in CUTOFFS}, found
  )


def precision(
  scores: np.ndarray,
  positives: Sequence[int] | np.ndarray,
  num_relevant: int,
  twins: np.ndarray | None = None,
) -> dict[str, float]:
  """Returns precisions of one query's ranking, each from 0 to 1.

  Pessimistic on ties: other candidates with an equal score rank first.

  Args:
    scores: float [candidates].
    positives: int [<= num_relevant], the right candidates.
    num_relevant: R; positives that are not candidates are never found.
    twins: int [n, 2], positives and others that are word for word the same;
      with equal scores the others rank behind, see `text_ranks`.
  Returns:
    `map_at_r`: mean over the first R places of the precision up to the place
      if it is a positive, else of 0; `r_precision`: share of positives among
      the first R; `r1`: whether the first is a positive.
  Reference: Musgrave et al., A Metric Learning Reality Check, 2020.
  """
  own = np.asarray(positives, int)
  others = np.sort(np.delete(scores, own))
  better = len(others) - np.searchsorted(others, scores[own], side='left')
  if twins is not None:
    one, other = twins.T
    equal = np.unique(other[scores[one] == scores[other]])
    better -= np.sum(scores[own][:, None] == scores[equal], axis=1)
  number = np.arange(len(own))
  places = np.sort(better) + number
  is_found = places < num_relevant
  return {
    'map_at_r': float(np.sum(is_found * (number + 1) / (places + 1)))
    / num_relevant,
    'r_precision': float(np.sum(is_found)) / num_relevant,
    'r1': float(np.any(places == 0)),
  }
