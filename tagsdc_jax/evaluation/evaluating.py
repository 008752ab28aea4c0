"""A model on a split -> recalls and how long they took."""

import time
from typing import Any

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import matrix, protocols, ranking, recall
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runtime import watchdog


def evaluate(model: RetrievalModel, params: Any,
             data: dataset.RetrievalDataset, config: settings.Settings, *,
             devices: list[jax.Device],
             progress: matrix.Progress = lambda pairs: None,
             watch: watchdog.Watch = watchdog.UNWATCHED
             ) -> tuple[dict[str, Any], np.ndarray]:
  """Scores every caption against every image and ranks both ways, in memory.

  Args:
    model: the network.
    params: replicated parameters.
    data: the split.
    config: tile sizes and how hits are counted are read.
    devices: this process's devices.
    progress: see `matrix.score_parts`.
    watch: see `matrix.score_matrix`.
  Returns:
    the result (what `ranking.evaluate_scores` returns, `captions`, `images`,
    `chance`, see `recall.chance`, `precision`, see `retrieval.precision`,
    `seconds`, `pairs_per_second`, compilation included) and the scores,
    float32 [captions, images], as they were computed.
  """
  start = time.perf_counter()
  scores = matrix.score_matrix(model, params, data, config.evaluation,
                               devices=devices, progress=progress,
                               watch=watch)
  seconds = time.perf_counter() - start
  result = rank(ranking.Scores(scores), data, config.quirks)
  facts = {'precision': retrieval.precision(model)}
  return result | pace(scores.size, seconds) | facts, scores


def rank(scores: ranking.Scores, data: dataset.RetrievalDataset,
         quirks: settings.Quirks,
         chosen: dict[str, protocols.Protocol] | None = None
         ) -> dict[str, Any]:
  """Returns recalls on the whole split, and what the protocols say.

  Args:
    scores: of the split.
    data: the split.
    quirks: how scores are rounded and hits counted.
    chosen: from `protocols.prepare`.
  Returns:
    as `evaluate`, without `seconds` and `pairs_per_second`; with `protocols`,
    a result per name, if any are chosen.
  """
  chosen = chosen or {}
  counted = protocols.Counting(quirks)
  scores = counted.rounded(scores)
  scores.check(data)
  result = counted.recalls(scores, data)
  result |= {'split': data.name, 'captions': len(data.captions),
             'images': len(data.image_ids),
             'chance': recall.chance(
                 len(data.image_ids),
                 [len(own) for own in data.captions_of_image])}
  if chosen:
    result['protocols'] = {
        name: protocol(scores, data, counted) for name, protocol in
        chosen.items()}
  return result


def pace(num_pairs: int, seconds: float) -> dict[str, float]:
  """Returns `seconds` and `pairs_per_second`."""
  return {'seconds': seconds,
          'pairs_per_second': num_pairs / max(seconds, 1e-9)}
