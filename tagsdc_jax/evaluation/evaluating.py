"""A model on a split -> recalls and how long they took."""

import time
from typing import Any

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import matrix, recall
from tagsdc_jax.models.retrieval import RetrievalModel


def evaluate(model: RetrievalModel, params: Any,
             data: dataset.RetrievalDataset, config: settings.Settings, *,
             devices: list[jax.Device],
             progress: matrix.Progress = lambda pairs: None
             ) -> tuple[dict[str, Any], np.ndarray]:
  """Scores every caption against every image and ranks both ways.

  Args:
    model: the network.
    params: replicated parameters.
    data: the split.
    config: tile sizes, number of widths and how hits are counted are read.
    devices: this process's devices.
    progress: see `matrix.score_matrix`.
  Returns:
    the result ({`image_retrieval`, `text_retrieval`: {`r1`, `r5`, `r10`},
    `mean_r1`} in per cent, `captions`, `images`, `seconds`,
    `pairs_per_second`, compilation included) and the scores, float32
    [captions, images], as they were computed.
  """
  start = time.perf_counter()
  scores = matrix.score_matrix(
      model, params, data, config.evaluation,
      num_widths=config.compute.num_widths, devices=devices,
      progress=progress)
  seconds = time.perf_counter() - start
  image_of_text = np.array([c.image for c in data.captions])
  quirks = config.quirks
  result = recall.evaluate_scores(
      recall.as_float16(scores) if quirks.float16_scores else scores,
      image_of_text, data.captions_of_image,
      image_recalls=(recall.overcounted_recalls if quirks.overcounted_recall
                     else recall.recalls))
  return {
      **result, 'mean_r1': recall.mean_r1(result),
      'captions': scores.shape[0], 'images': scores.shape[1],
      'seconds': seconds, 'pairs_per_second': scores.size / seconds,
  }, scores
