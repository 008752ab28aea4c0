"""Foil accuracy: how often a caption outscores a similar false sentence."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from tagsdc_jax.data import dataset
from tagsdc_jax.data.world import foils
from tagsdc_jax.evaluation import scored_pairs
from tagsdc_jax.models.retrieval import RetrievalModel


def foil_accuracy(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  made: Sequence[foils.Foil],
  *,
  devices: list[jax.Device],
) -> dict[str, float]:
  """Returns the share of foils that their caption outscores, in percent.

  Args:
    model: the network.
    params: its parameters, replicated; see `head_init.matching_parameters`.
    data: the split that the foils were made from.
    made: from `foils.make_foils`.
    devices: this process's devices.
  Returns:
    one entry per kind, and `all`, the mean of the kinds. A tie counts against
    the model.
  """
  captions = [c.token_ids for c in data.captions]
  images = [c.image for c in data.captions]
  scores = scored_pairs.score_sentences(
    model,
    params,
    data,
    captions + [f.token_ids for f in made],
    images + [images[f.caption] for f in made],
    devices=devices,
  )
  true, false = scores[: len(captions)], scores[len(captions) :]
  return accuracy_by_kind(made, true[[f.caption for f in made]] > false)


def accuracy_by_kind(
  made: Sequence[foils.Foil], is_right: np.ndarray
) -> dict[str, float]:
  """Returns the accuracy per kind in percent, and their mean as `all`.

  Args:
    made: the foils; every kind must occur.
    is_right: bool [number of foils].
  """
  kinds = np.array([f.kind for f in made])
  shares = {
    kind: 100 * float(np.mean(is_right[kinds == kind])) for kind in foils.KINDS
  }
  return {'all': sum(shares.values()) / len(shares), **shares}
