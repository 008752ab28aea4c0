"""Recall at k, both ways. Numpy only."""

from collections.abc import Sequence
from typing import Any

import numpy as np

CUTOFFS = (1, 5, 10)
WAYS = ('image_retrieval', 'text_retrieval')


def image_ranks(scores: np.ndarray, image_of_text: np.ndarray) -> np.ndarray:
  """Returns how many other images beat each caption's own, int [texts].

  Pessimistic on ties: an image with an equal score counts as better.

  Args:
    scores: float [texts, images].
    image_of_text: int [texts].
  """
  own = scores[np.arange(len(scores)), image_of_text]
  return np.sum(scores >= own[:, None], axis=1) - 1


def text_ranks(scores: np.ndarray,
               captions_of_image: Sequence[Sequence[int] | np.ndarray],
               twins: Sequence[np.ndarray] | None = None) -> np.ndarray:
  """Returns the best rank of each image's captions, int [images].

  Images without captions are left out. Pessimistic on ties with captions of
  other images; the image's own captions never stand in each other's way.

  Args:
    scores: float [texts, images].
    captions_of_image: rows of each image's captions, any number of them. More
      generally: of each column, the rows that are right.
    twins: for each image int [n, 2], its captions and others that are word for
      word the same, see `equal_sentences`; these ties are not lost.
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
  """Returns R@1, R@5 and R@10 in per cent as `r1`, `r5`, `r10`."""
  return {f'r{k}': 100.0 * float(np.mean(ranks < k)) for k in CUTOFFS}


def overcounted_recalls(ranks: np.ndarray) -> dict[str, float]:
  """Returns R@1, R@5 and R@10 as the release counts its image retrieval.

  Of every caption whose image is among the first ten it lists the caption's
  number and the image's rank, and then counts all numbers below k, so that
  such captions among the first k count once more. May exceed 100.

  Args:
    ranks: int [texts], in the data's order; see `image_ranks`.
  Reference: utils/itm_eval.py of the release, QUIRKS 40.
  """
  is_listed = ranks < max(CUTOFFS)
  return {f'r{k}': 100.0 * float(np.sum(ranks < k) + np.sum(is_listed[:k]))
          / len(ranks) for k in CUTOFFS}


def as_float16(scores: np.ndarray) -> np.ndarray:
  """Returns the scores rounded to float16, as the release keeps them.

  Near ones become equal, and ties count against the model; which of them the
  release puts first is left to chance (QUIRKS 41).
  """
  return scores.astype(np.float16).astype(np.float32)


def with_means(image_retrieval: dict[str, float],
               text_retrieval: dict[str, float]) -> dict[str, Any]:
  """Returns both ways' recalls with their means, in per cent.

  Returns:
    `image_retrieval`, `text_retrieval` as given; `image_mean`, `text_mean`
    over the cut-offs; `mean_r1`, what the best checkpoint is chosen by; and
    `rsum`, the sum of all six.
  """
  result: dict[str, Any] = {'image_retrieval': image_retrieval,
                            'text_retrieval': text_retrieval}
  sums = [sum(result[way].values()) for way in WAYS]
  return result | {
      **{f'{way.removesuffix("_retrieval")}_mean': total / len(CUTOFFS)
         for way, total in zip(WAYS, sums)},
      'mean_r1': mean_r1(result), 'rsum': sum(sums)}


def mean_r1(result: dict[str, Any]) -> float:
  """Returns the mean of the two R@1."""
  return sum(result[way]['r1'] for way in WAYS) / len(WAYS)


def with_equal(result: dict[str, Any],
               equal: dict[str, Any]) -> dict[str, Any]:
  """Returns a result with its second count, where the two differ.

  Args:
    result: recalls or precisions, as published numbers are counted.
    equal: the same with equal sentences taken as right; `equal_sentences` of
      what is returned.
  """
  return result | ({} if equal == result else {'equal_sentences': equal})


def chance(num_images: int, num_captions: Sequence[float]) -> dict[str, Any]:
  """Returns what random scores are expected to give, see `with_means`.

  Args:
    num_images: all of them, whether they have captions or not.
    num_captions: of each image; those without have no rank, see `text_ranks`.
  """
  own = np.array([number for number in num_captions if number], float)
  total = float(np.sum(own))
  found = {}
  for k in CUTOFFS:
    # That none of an image's captions is among the k first.
    missed = np.ones_like(own)
    for place in range(min(k, int(total))):
      missed *= np.maximum(0, total - own - place) / (total - place)
    found[f'r{k}'] = 100 * float(np.mean(1 - missed)) if len(own) else 0.0
  return with_means(
      {f'r{k}': 100 * min(1.0, k / num_images) for k in CUTOFFS}, found)


def precision(scores: np.ndarray, positives: Sequence[int] | np.ndarray,
              num_relevant: int,
              twins: np.ndarray | None = None) -> dict[str, float]:
  """Returns how the positives of one query rank, each from 0 to 1.

  Pessimistic on ties: other candidates of equal score rank before.

  Args:
    scores: float [candidates].
    positives: int [<= num_relevant], candidates that are right.
    num_relevant: R; positives that are no candidates are never found.
    twins: int [n, 2], positives and others that are word for word the same;
      with equal scores the others rank behind, see `text_ranks`.
  Returns:
    `map_at_r`: mean over the first R places of the precision up to the place
      where it holds a positive, of 0 elsewhere; `r_precision`: share of the
      first R that is positive; `r1`: whether the first one is.
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
  return {'map_at_r': float(np.sum(is_found * (number + 1) / (places + 1)))
          / num_relevant,
          'r_precision': float(np.sum(is_found)) / num_relevant,
          'r1': float(np.any(places == 0))}
