"""Evaluates parameters on a split, in memory, with progress."""

from typing import Any

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import evaluating
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runs import setup
from tagsdc_jax.runtime import distributed, memory, progress, watchdog
from tagsdc_jax.training import head_init


def evaluate_split(model: RetrievalModel, params: Any,
                   data: dataset.RetrievalDataset,
                   config: settings.Settings, phase: str,
                   devices: list[jax.Device],
                   watch: watchdog.Watch = watchdog.UNWATCHED
                   ) -> tuple[dict[str, Any], np.ndarray]:
  """Returns the result and the scores; see `evaluating.evaluate`.

  Nothing is kept on disk; `evaluation_in_parts` does that.

  Args:
    model: the network.
    params: parameters replicated over the devices.
    data: the split.
    config: tile sizes are read.
    phase: which trained the parameters; decides the matching head.
    devices: this process's.
    watch: see `matrix.score_matrix`; of this split only, since another one
      compiles anew.
  Raises:
    UserError: if the split does not fit the network, or the tiles memory.
  """
  setup.check_data(model.config, data)
  params = head_init.matching_parameters(params, phase)
  pairs = left = len(data.captions) * len(data.image_ids)
  with memory.explained(config, memory.SCORING, devices), (
      progress.progress_bar(pairs, f'scoring {data.name}', 'pairs',
                            is_shown=distributed.is_first())) as bar:
    # What the others score meanwhile is taken to be as much.
    def advance(number: int) -> None:
      nonlocal left
      step = min(number * jax.process_count(), left)
      left -= step
      bar.update(step)

    found = evaluating.evaluate(model, params, data, config, devices=devices,
                                progress=advance, watch=watch)
    advance(left)
    return found
