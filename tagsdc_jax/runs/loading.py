"""A checkpoint, its settings and a split of data -> a network that ranks."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from tagsdc_jax import errors, settings
from tagsdc_jax.data import dataset
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runs import setup
from tagsdc_jax.training import checkpoints, head_init


def overridden(
  config: settings.Settings, overrides: Mapping[str, Any]
) -> settings.Settings:
  """Returns settings with some values replaced.

  Args:
    config: the settings.
    overrides: dotted name -> value.
  Raises:
    UserError: if a name is unknown, or a value is out of its range.
  """
  try:
    return settings.from_flat(settings.flatten(config) | dict(overrides))
  except ValueError as error:
    raise errors.UserError(str(error)) from error


def open_model(
  loaded: checkpoints.Loaded,
  config: settings.Settings,
  data: dataset.RetrievalDataset,
) -> tuple[settings.Settings, RetrievalModel]:
  """Returns the settings with the data's sizes, and a checkpoint's network.

  Raises:
    UserError: if checkpoint, settings and data do not fit together.
  """
  config = setup.with_data_sizes(config, data)
  model = setup.make_model(config)
  checkpoints.check_parameters(
    loaded.parameters, retrieval.parameter_shapes(model), loaded.path
  )
  return config, model


def ranking_parameters(
  loaded: checkpoints.Loaded, config: settings.Settings
) -> Any:
  """Returns a checkpoint's parameters, as the settings have them rank."""
  # Pretraining ranks with both rows of its head; it has lost nothing.
  if config.quirks.untrained_rank_head and loaded.about['phase'] != 'pretrain':
    return head_init.reset_rank_head(loaded.parameters)
  return loaded.parameters


class Network(NamedTuple):
  """A trained network on one device."""

  settings: settings.Settings  # With the data's sizes.
  model: RetrievalModel
  parameters: Any  # As it ranks, on the host.
  params: Any  # With the matching head of its phase, on the device.


def open_network(
  loaded: checkpoints.Loaded,
  config: settings.Settings,
  data: dataset.RetrievalDataset,
) -> Network:
  """Returns a checkpoint's network, on one device.

  Raises:
    UserError: if checkpoint, settings and data do not fit together.
  """
  config, model = open_model(loaded, config, data)
  setup.check_positions(config.model, data)
  parameters = ranking_parameters(loaded, config)
  params = head_init.matching_parameters(parameters, loaded.about['phase'])
  return Network(config, model, parameters, jax.device_put(params))
