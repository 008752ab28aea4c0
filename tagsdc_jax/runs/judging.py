"""The final evaluation of a run's parameters."""

from typing import Any

import jax

from tagsdc_jax import settings
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runs import evaluation, world_measures
from tagsdc_jax.runtime import memory, watchdog


def judge(
  model: RetrievalModel,
  params: Any,
  config: settings.Settings,
  phase: str,
  train: dataset.RetrievalDataset,
  devices: list[jax.Device],
  start_params: Any = None,
) -> dict[str, Any]:
  """Evaluates on the test split, and with the embedded world's oracle.

  Args:
    model: the network.
    params: its parameters, replicated over the devices.
    config: settings with the data's sizes.
    phase: the phase that trained the parameters.
    train: the training split.
    devices: this process's.
    start_params: the phase's initial parameters; None if no source needs them.
  Returns:
    `evaluation`, see `evaluation.Evaluated`; `measures`, see
    `world_measures.measure`, None for data without an oracle.
  """
  watch = watchdog.Watch(config.hang_seconds)
  test = opening.open_split(config.data, 'test', config.extensions)
  result = evaluation.evaluate(
    model, params, test, config, phase, devices, watch=watch
  ).result
  measures = None
  if config.data.source == 'world':
    with (
      memory.explained(config, memory.TRAINING, devices),
      watch.during(watchdog.OTHER),
    ):
      measures = world_measures.measure(
        params, config, phase, train, devices, start_params
      )
  return {'evaluation': result, 'measures': measures}
