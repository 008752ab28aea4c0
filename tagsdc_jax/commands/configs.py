"""Finds a config file, loads it and applies `--config.NAME=VALUE`."""

import difflib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from tagsdc_jax import errors, settings


def load(name: str, overrides: Sequence[str]) -> settings.Settings:
  """Returns the settings of a config file with overrides applied.

  Args:
    name: path of a file with `get_config()`, or the name of one of ours.
    overrides: `--config.KEY=VALUE` each.
  Raises:
    UserError: for an unknown file or key, or a value of the wrong type.
  """
  path = find(name)
  arguments = ['tagsdc', f'--config={path}', *overrides]
  values = flags.FlagValues()
  # Without sys_argv it would look for the overrides in this process's own.
  config_flags.DEFINE_config_file('config', flag_values=values,
                                  sys_argv=arguments)
  for override in overrides:
    _check_key(override)
  try:
    values(arguments)
    return settings.from_config(values['config'].value)
  except (flags.Error, ValueError, TypeError, AttributeError, KeyError,
          ImportError, SyntaxError) as error:
    raise errors.UserError(f'config {name}: {error}') from error


def names() -> list[str]:
  """Returns the configs that come with the package."""
  folder = resources.files('tagsdc_jax.configs')
  return sorted(entry.name[:-3] for entry in folder.iterdir()
                if entry.name.endswith('.py')
                and not entry.name.startswith('_'))


def find(name: str) -> Path:
  """Returns the path of a config file given by path or by name."""
  if Path(name).is_file():
    return Path(name)
  short = Path(name).name.removesuffix('.py')
  if short in names():
    return Path(str(resources.files('tagsdc_jax.configs') / f'{short}.py'))
  close = difflib.get_close_matches(short, names(), 1, 0)
  raise errors.UserError(f'config {name} is neither a file nor one of ours; '
                         f'nearest: {close[0]} (ours: {", ".join(names())})')


def _check_key(override: str) -> None:
  key = override.removeprefix('--config.').split('=')[0]
  known = settings.flatten(settings.Settings())
  if key in known:
    if '=' not in override:
      raise errors.UserError(f'{override} needs a value: --config.{key}=VALUE')
    return
  close = difflib.get_close_matches(key, known, 1, 0)
  raise errors.UserError(
      f'--config.{key} is no setting; nearest: --config.{close[0]}')
