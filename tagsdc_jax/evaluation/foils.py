"""Foil accuracy: how often a caption outscores a similar false sentence."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from scipy import stats

from tagsdc_jax.data import dataset
from tagsdc_jax.data.world import foils
from tagsdc_jax.evaluation import scored_pairs
from tagsdc_jax.models.retrieval import RetrievalModel

# Kinds with fewer foils are reported, but not part of the mean.
MIN_FOILS = 100
_NUM_RESAMPLES = 999


def foil_accuracy(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  made: Sequence[foils.Foil],
  *,
  devices: list[jax.Device],
) -> dict[str, dict[str, Any]]:
  """Returns the share of foils that their caption outscores, by kind.

  Args:
    model: the network.
    params: its parameters, replicated; see `head_init.matching_parameters`.
    data: the split that the foils were made from.
    made: from `foils.make_foils`.
    devices: this process's devices.
  Returns:
    see `accuracy_by_kind`. A tie counts against the model.
  """
  own = [data.captions[f.caption] for f in made]
  images = [caption.image for caption in own]
  scores = scored_pairs.score_sentences(
    model,
    params,
    data,
    [caption.token_ids for caption in own] + [f.token_ids for f in made],
    images * 2,
    devices=devices,
  )
  true, false = np.split(scores, 2)
  return accuracy_by_kind(
    [f.kind for f in made], true > false, np.array(images)
  )


def accuracy_by_kind(
  kinds: Sequence[str], is_right: np.ndarray, images: np.ndarray
) -> dict[str, dict[str, Any]]:
  """Returns the accuracy of every kind that occurs, and their mean as `all`.

  Args:
    kinds: kind of each foil.
    is_right: bool [foils], whether its caption scores higher.
    images: int [foils], number of its picture. Foils of one picture depend on
      each other, so intervals are made by drawing pictures, not foils.
  Returns:
    for each kind `accuracy` in percent, `low` and `high`, the bounds of its
    95 % bootstrap interval, `count`, the number of foils, and `in_mean`,
    whether the kind is part of `all`, the unweighted mean of the kinds with at
    least MIN_FOILS foils (of the largest kinds, if none has as many).
  """
  present = [kind for kind in foils.KINDS if kind in kinds]
  place = np.array([present.index(kind) for kind in kinds])
  numbers, row = np.unique(images, return_inverse=True)
  # Foils and right ones of every picture and kind.
  total = np.zeros((len(numbers), len(present)))
  right = np.zeros_like(total)
  np.add.at(total, (row, place), 1)
  np.add.at(right, (row, place), is_right)
  counts = total.sum(0).astype(int)
  is_large = counts >= min(MIN_FOILS, counts.max())
  mean = {'all': _accuracy(right[:, is_large], total[:, is_large], True)}
  return mean | {
    kind: _accuracy(right[:, [i]], total[:, [i]], bool(is_large[i]))
    for i, kind in enumerate(present)
  }


def _accuracy(
  right: np.ndarray, total: np.ndarray, in_mean: bool
) -> dict[str, Any]:
  """Returns the mean accuracy of columns [pictures, kinds] of counts."""

  def mean(pictures: np.ndarray, axis: int = -1) -> np.ndarray:
    # A draw may contain no foil of a rare kind.
    shares = right[pictures].sum(axis - 1) / np.maximum(
      total[pictures].sum(axis - 1), 1
    )
    return 100 * shares.mean(-1)

  every = np.arange(len(total))
  accuracy = float(mean(every))
  if len(every) == 1:  # Nothing to draw from.
    low, high = 0.0, 100.0
  else:
    low, high = stats.bootstrap(
      (every,),
      mean,
      n_resamples=_NUM_RESAMPLES,
      vectorized=True,
      method='percentile',
      rng=np.random.default_rng(0),
    ).confidence_interval
  return {
    'accuracy': accuracy,
    'low': float(low),
    'high': float(high),
    'count': int(total.sum()),
    'in_mean': in_mean,
  }
