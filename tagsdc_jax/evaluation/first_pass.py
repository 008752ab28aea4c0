"""Selects the pairs that the network scores, by a cheaper model's scores."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import equal_sentences, recall
from tagsdc_jax.runtime import hashing


@dataclasses.dataclass(frozen=True)
class FirstPass:
  """The pairs among the top k of their caption or of their image.

  Attributes:
    scores: float [captions, images], memory-mapped.
    k: number of pairs per caption and per image.
    sha256: hash of the file.
    images_of: int32 [captions, k], top images of each caption.
    captions_of: int32 [images, k], top captions of each image.
  """

  scores: np.ndarray
  k: int
  sha256: str
  images_of: np.ndarray
  captions_of: np.ndarray
  _caption_order: np.ndarray
  _starts: np.ndarray
  _sentences: equal_sentences.Sentences

  def wanted(self, image: int) -> np.ndarray:
    """Returns the captions to score against an image, ascending.

    Includes all or none of several equal sentences: an unscored one would
    otherwise lose to a scored one.
    """
    chosen_by = self._caption_order[
      self._starts[image] : self._starts[image + 1]
    ]
    return self._sentences.with_equal(
      np.union1d(self.captions_of[image], chosen_by)
    )

  def about(self, captions_of_image: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Returns how many pairs are scored, and how many positives are missed.

    Args:
      captions_of_image: rows of each image's captions.
    Returns:
      `top_k`; `pairs`; and `lost`, in percent: `image_retrieval`, captions not
      scored with their own image, and `text_retrieval`, images scored with
      none of their captions.
    """
    wanted = [self.wanted(image) for image in range(len(self.captions_of))]
    own, kept = np.array(
      [
        (len(own), len(np.intersect1d(scored, list(own))))
        for own, scored in zip(captions_of_image, wanted)
        if len(own)
      ]
    ).T
    return {
      'top_k': self.k,
      'pairs': sum(len(scored) for scored in wanted),
      'lost': {
        'image_retrieval': 100 * float(1 - kept.sum() / own.sum()),
        'text_retrieval': 100 * float(np.mean(kept == 0)),
      },
    }


def load(path: Path, k: int, data: dataset.RetrievalDataset) -> FirstPass:
  """Returns the pairs that the network scores, selected by a file of scores.

  Args:
    path: .npy, float [captions, images], in the split's order.
    k: at least 1; values beyond the number of candidates select all.
    data: the split.
  Raises:
    UserError: if the file does not contain such a matrix.
  """
  try:
    scores = np.lib.format.open_memmap(path, mode='r')
  except (OSError, ValueError) as error:
    found = files.kind_of_text(path)
    raise errors.UserError(
      f'first pass {path} is {found}'
      if found
      else f'first pass {path} cannot be read as .npy: {error}; pass a file '
      'written by `tagsdc evaluate --scores` or numpy.save'
    ) from error
  expected = (len(data.captions), len(data.image_ids))
  if scores.shape != expected or scores.dtype.kind != 'f':
    raise errors.UserError(
      f'first pass {path} must contain floats of shape {expected} (captions, '
      f'images of {data.name}, in its order), got {scores.dtype} '
      f'{scores.shape}'
    )
  images_of = np.concatenate(
    [_best(scores[rows], k, path) for rows in recall.blocks(*expected)]
  )
  captions_of = np.concatenate(
    [
      _best(scores[:, columns].T, k, path)
      for columns in recall.blocks(*expected[::-1])
    ]
  )
  flat = images_of.reshape(-1)
  order = np.argsort(flat, kind='stable')
  starts = np.searchsorted(flat[order], np.arange(expected[1] + 1))
  return FirstPass(
    scores,
    k,
    hashing.file_sha256(path),
    images_of,
    captions_of,
    (order // images_of.shape[1]).astype(np.int32),
    starts,
    equal_sentences.find(data.captions),
  )


def _best(scores: np.ndarray, k: int, path: Path) -> np.ndarray:
  """Returns the columns of each row's top k scores, int32 [rows, <= k]."""
  if not np.all(np.isfinite(scores)):
    raise errors.UserError(
      f'first pass {path} must be finite, got NaN or infinite numbers'
    )
  k = min(k, scores.shape[1])
  return np.argpartition(-scores, k - 1, axis=1)[:, :k].astype(np.int32)
