"""Settings as a `ConfigDict`, frozen, and flat as JSON has them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tagsdc_jax.settings import checks
from tagsdc_jax.settings.schema import Settings

# Imported where it is used: launch/bench.sh runs where it is missing.
if TYPE_CHECKING:
  import ml_collections

# Chunks were so many pairs once, now they are so many tokens.
_REMOVED = ('compute.score_rows', 'compute.gradient_rows')


def default_config() -> ml_collections.ConfigDict:
  """Returns the defaults as a `ConfigDict` that takes no other keys."""
  import ml_collections
  return ml_collections.ConfigDict(dataclasses.asdict(Settings())).lock()


def from_config(config: ml_collections.ConfigDict) -> Settings:
  """Returns the frozen settings.

  Raises:
    ValueError: if a value makes no sense; names key, expectation, value.
  """
  import ml_collections
  parts = {}
  for field in dataclasses.fields(Settings):
    value = config[field.name]
    if isinstance(value, ml_collections.ConfigDict):
      part: Any = type(field.default)
      parts[field.name] = part(**{k: _plain(v) for k, v in value.items()})
    else:
      parts[field.name] = _plain(value)
  result = Settings(**parts)
  checks.check_kinds(result)
  checks.check_values(result)
  return result


def flatten(settings: Settings) -> dict[str, object]:
  """Returns {dotted key: value}, lists instead of tuples, as JSON has it."""
  flat: dict[str, object] = {}
  for name, value in dataclasses.asdict(settings).items():
    parts = value.items() if isinstance(value, dict) else [('', value)]
    for key, leaf in parts:
      flat[f'{name}.{key}' if key else name] = (
          list(leaf) if isinstance(leaf, tuple) else leaf)
  return flat


def from_flat(flat: dict[str, object]) -> Settings:
  """Returns the settings that `flatten` was made of.

  Those of an earlier version that only cut the work are left out.

  Raises:
    ValueError: if a key is unknown or a value makes no sense.
  """
  flat = {key: value for key, value in flat.items() if key not in _REMOVED}
  unknown = flat.keys() - flatten(Settings()).keys()
  if unknown:
    raise ValueError(f'{min(unknown)} is no setting')
  config = default_config()
  config.update_from_flattened_dict({
      key: tuple(value) if isinstance(value, list) else value
      for key, value in flat.items()})
  return from_config(config)


def _plain(value: object) -> object:
  return tuple(value) if isinstance(value, (list, tuple)) else value
