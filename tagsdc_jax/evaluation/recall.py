"""Recall at k, both ways. Numpy only."""

from collections.abc import Callable, Sequence

import numpy as np

CUTOFFS = (1, 5, 10)


def image_ranks(scores: np.ndarray, image_of_text: np.ndarray) -> np.ndarray:
  """Returns how many other images beat each caption's own, int [texts].

  Pessimistic on ties: an image with an equal score counts as better.

  Args:
    scores: float32 [texts, images].
    image_of_text: int [texts].
  """
  own = scores[np.arange(len(scores)), image_of_text]
  return np.sum(scores >= own[:, None], axis=1) - 1


def text_ranks(scores: np.ndarray,
               captions_of_image: Sequence[Sequence[int]]) -> np.ndarray:
  """Returns the best rank of each image's captions, int [images].

  Images without captions are left out. Pessimistic on ties with captions of
  other images; the image's own captions never stand in each other's way.

  Args:
    scores: float32 [texts, images].
    captions_of_image: rows of each image's captions, any number of them.
  """
  ranks = []
  for image, own in enumerate(captions_of_image):
    if not len(own):
      continue
    column = scores[:, image]
    own_scores = column[list(own)]
    best = np.max(own_scores)
    ranks.append(np.sum(column >= best) - np.sum(own_scores >= best))
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


def evaluate_scores(
    scores: np.ndarray, image_of_text: np.ndarray,
    captions_of_image: Sequence[Sequence[int]], *,
    image_recalls: Callable[[np.ndarray], dict[str, float]] = recalls
    ) -> dict[str, dict[str, float]]:
  """Returns `image_retrieval` and `text_retrieval` recalls in per cent.

  Args:
    scores: float32 [texts, images].
    image_of_text: int [texts].
    captions_of_image: rows of each image's captions.
    image_recalls: how image retrieval is counted.
  Raises:
    ValueError: if a score is NaN or infinite, or shapes do not fit.
  """
  expected = (len(image_of_text), len(captions_of_image))
  if scores.shape != expected:
    raise ValueError(f'scores must have shape {expected} (captions, images), '
                     f'got {scores.shape}')
  if not np.all(np.isfinite(scores)):
    row, column = np.argwhere(~np.isfinite(scores))[0]
    raise ValueError(f'scores must be finite, got {scores[row, column]} for '
                     f'caption {row} and image {column}')
  return {
      'image_retrieval': image_recalls(image_ranks(scores, image_of_text)),
      'text_retrieval': recalls(text_ranks(scores, captions_of_image)),
  }


def mean_r1(result: dict[str, dict[str, float]]) -> float:
  """Returns the mean of the two R@1, what the best checkpoint is chosen by."""
  return 0.5 * (result['image_retrieval']['r1']
                + result['text_retrieval']['r1'])
