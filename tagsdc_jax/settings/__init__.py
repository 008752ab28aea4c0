"""All settings of a run, with defaults, ranges and meanings.

Config files take a `ConfigDict` from `default_config()` and change some values;
`from_config` checks it and returns the frozen dataclasses that the code uses.
Nothing here imports jax, so that config files load fast.
"""

from tagsdc_jax.settings.checks import check_value, parse_value, without_effect
from tagsdc_jax.settings.freezing import (
  default_config,
  flatten,
  flatten_config,
  from_config,
  from_flat,
  respelled,
)
from tagsdc_jax.settings.groups import (
  ATTENTION,
  DTYPES,
  PRECISIONS,
  SOURCES,
  WORLD_SIZES,
  Batch,
  Compute,
  Data,
  Evaluation,
  Losses,
  Model,
  Optimizer,
  Quirks,
)
from tagsdc_jax.settings.kinds import profiled_updates
from tagsdc_jax.settings.negatives import EXCLUDED, PHRASE_KINDS, Negatives
from tagsdc_jax.settings.presets import PRESETS, apply_preset
from tagsdc_jax.settings.schema import (
  ALL,
  FREE_TO_CHANGE,
  FRESH,
  PHASES,
  REQUIRED,
  Settings,
)

__all__ = [
  'ALL',
  'ATTENTION',
  'DTYPES',
  'EXCLUDED',
  'FREE_TO_CHANGE',
  'FRESH',
  'PHASES',
  'PHRASE_KINDS',
  'PRECISIONS',
  'PRESETS',
  'REQUIRED',
  'SOURCES',
  'WORLD_SIZES',
  'Batch',
  'Compute',
  'Data',
  'Evaluation',
  'Losses',
  'Model',
  'Negatives',
  'Optimizer',
  'Quirks',
  'Settings',
  'apply_preset',
  'check_value',
  'default_config',
  'flatten',
  'flatten_config',
  'from_config',
  'from_flat',
  'parse_value',
  'profiled_updates',
  'respelled',
  'without_effect',
]
