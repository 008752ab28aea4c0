"""Converts settings between `ConfigDict`, frozen dataclasses and flat dicts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tagsdc_jax.settings import checks, kinds
from tagsdc_jax.settings.schema import ALL, Settings

# Imported only where used: launch/bench.sh runs without it.
if TYPE_CHECKING:
  import ml_collections

# From versions whose chunks were measured in pairs, not in tokens.
_REMOVED = ('compute.score_rows', 'compute.gradient_rows')
# Names in run folders and checkpoints before version 0.2.
_RENAMED = {
  'compute.num_widths': 'compute.num_score_buckets',
  'compute.num_gradient_widths': 'compute.num_gradient_buckets',
  'evaluation.num_widths': 'evaluation.num_buckets',
}
_GROUPS: dict[str, Any] = {
  field.name: field.type
  for field in dataclasses.fields(Settings)
  if dataclasses.is_dataclass(field.type)
}


def default_config() -> ml_collections.ConfigDict:
  """Returns the defaults as a locked `ConfigDict`."""
  import ml_collections

  return ml_collections.ConfigDict(dataclasses.asdict(Settings())).lock()


def from_config(config: ml_collections.ConfigDict) -> Settings:
  """Returns the frozen settings.

  Raises:
    ValueError: if a value is out of range, or values contradict each other.
  """
  return from_flat(flatten_config(config))


def flatten_config(config: ml_collections.ConfigDict) -> dict[str, object]:
  """Returns {dotted key: value}, unchecked.

  Raises:
    ValueError: if its groups and keys differ from those of `default_config`.
  """
  import ml_collections

  flat: dict[str, object] = {}
  for name in config:
    group, is_group = config[name], name in _GROUPS
    if isinstance(group, ml_collections.ConfigDict) != is_group:
      raise ValueError(
        f'{name} is {"a" if is_group else "not a"} group of '
        f'settings, got {kinds.shown(group)}'
      )
    flat |= (
      {f'{name}.{key}': group[key] for key in group}
      if is_group
      else {name: group}
    )
  _check_known(flat)
  missing = ALL.keys() - flat.keys()
  if missing:
    raise ValueError(
      f'{min(missing)} is missing; start from settings.default_config()'
    )
  return flat


def flatten(settings: Settings) -> dict[str, object]:
  """Returns {dotted key: value}, with lists instead of tuples, for JSON."""
  flat: dict[str, object] = {}
  for name, value in dataclasses.asdict(settings).items():
    parts = value.items() if isinstance(value, dict) else [('', value)]
    for key, leaf in parts:
      flat[f'{name}.{key}' if key else name] = (
        list(leaf) if isinstance(leaf, tuple) else leaf
      )
  return flat


def from_flat(flat: dict[str, object]) -> Settings:
  """Returns the settings that `flatten` was called with.

  Settings of earlier versions: renamed ones are recognized, removed ones that
  did not affect results are ignored, and missing ones have their defaults.

  Raises:
    ValueError: if a key is unknown, a value is out of range, or values
      contradict each other.
  """
  flat = _by_new_name(flat)
  _check_known(flat)
  values = {
    name: checks.check_value(name, flat[name]) for name in ALL if name in flat
  }
  groups: dict[str, Any] = {
    name: kind(
      **{
        key.partition('.')[2]: value
        for key, value in values.items()
        if key.startswith(f'{name}.')
      }
    )
    for name, kind in _GROUPS.items()
  }
  result = Settings(
    **groups,
    **{name: value for name, value in values.items() if '.' not in name},
  )
  checks.check_together(result)
  return result


def respelled(flat: dict[str, Any]) -> dict[str, Any]:
  """Returns flat settings of any version as `flatten` writes them now.

  Expands `~` in paths and replaces earlier names of settings. Values out of
  range are unchanged.
  """

  def spell(name: str, value: Any) -> Any:
    try:
      value = checks.check_value(name, value)
    except (KeyError, ValueError):
      return value
    return list(value) if isinstance(value, tuple) else value

  return {
    name: spell(name, value) for name, value in _by_new_name(flat).items()
  }


def _by_new_name(flat: dict[str, Any]) -> dict[str, Any]:
  return {_RENAMED.get(name, name): value for name, value in flat.items()}


def _check_known(flat: dict[str, object]) -> None:
  unknown = flat.keys() - ALL.keys() - set(_REMOVED)
  if unknown:
    raise ValueError(f'{min(unknown)} is not a setting')
