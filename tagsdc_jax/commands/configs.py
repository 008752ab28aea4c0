"""Finds a config file, loads it and applies `--config.NAME=VALUE`."""

import difflib
import re
import runpy
import traceback
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import ml_collections
from absl import flags
from ml_collections import config_flags

from tagsdc_jax import errors, settings

# What ml_collections says of a key or a value that a config file cannot set.
_UNKNOWN = re.compile(r'Key "(\w+)" does not exist')
_KIND = re.compile(r"field '(\w+)' .*?\. (.*) is of original type")


def load(name: str, overrides: Sequence[str]) -> settings.Settings:
  """Returns the settings of a config file with overrides applied.

  Args:
    name: path of a file with `get_config()`, or the name of one of ours.
    overrides: `--config.KEY=VALUE` each.
  Raises:
    UserError: for an unknown file or key, or a value of the wrong type.
  """
  path = find(name)
  for override in overrides:
    _check_key(override)
  config = _run_file(path, name)
  _apply_preset(config, overrides)
  arguments = ['tagsdc', *overrides]
  values = flags.FlagValues()
  # Without sys_argv it would look for the overrides in this process's own.
  config_flags.DEFINE_config_dict('config', config, flag_values=values,
                                  sys_argv=arguments)
  try:
    values(arguments)
  except (flags.Error, ValueError, TypeError) as error:
    raise errors.UserError(_wrong_type(overrides, error)) from error
  try:
    return settings.from_config(config)
  except (ValueError, KeyError) as error:
    raise errors.UserError(f'config {name}: {error}') from error


def _apply_preset(config: ml_collections.ConfigDict,
                  overrides: Sequence[str]) -> None:
  """Applies `--config.preset=NAME`, before all other overrides."""
  given = [word.partition('=')[2] for word in overrides
           if word.startswith('--config.preset=')]
  if given:
    try:
      settings.apply_preset(config, given[-1])
    except ValueError as error:
      raise errors.UserError(f'--config.{error}') from error


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


def _run_file(path: Path, name: str) -> ml_collections.ConfigDict:
  try:
    content = runpy.run_path(str(path))
    if 'get_config' not in content:
      raise errors.UserError(
          f'config {name} must define get_config(), see configs/ for examples')
    config = content['get_config']()
  except errors.UserError:
    raise
  except (Exception, SystemExit) as error:  # Whatever the file does.
    raise errors.UserError(
        f'config {name} cannot be used: {_place(error, path)}'
        f'{_reason(error)}') from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise errors.UserError(
        f'get_config() of {name} must return settings.default_config(), '
        f'changed as you like, got {type(config).__name__}')
  return config


def _place(error: BaseException, path: Path) -> str:
  """Returns the line of the file that the error comes from."""
  if isinstance(error, SyntaxError):
    return f'line {error.lineno}: ' if error.lineno else ''
  lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
           if frame.filename == str(path)]
  return f'line {lines[-1]}: ' if lines else ''


def _reason(error: BaseException) -> str:
  unknown = _UNKNOWN.search(str(error))
  if unknown:
    return f'{unknown[1]} is no setting; nearest: {_nearest(unknown[1])}'
  kind = _KIND.search(str(error))
  if kind:
    names = [name for name in settings.flatten(settings.Settings())
             if name.split('.')[-1] == kind[1]]
    return (f'{kind[1]} must be {_expected(names[0])}, got {kind[2]}' if names
            else f'{kind[1]} is a group of settings, got {kind[2]}')
  if isinstance(error, SyntaxError):
    return f'{type(error).__name__}: {error.msg}'
  return f'{type(error).__name__}: {error}'


def _check_key(override: str) -> None:
  key = override.removeprefix('--config.').split('=')[0]
  known = settings.flatten(settings.Settings())
  if key in known:
    if '=' not in override:
      raise errors.UserError(f'{override} needs a value: --config.{key}=VALUE')
    return
  group = [name for name in known if name.startswith(f'{key}.')]
  if group:
    raise errors.UserError(f'--config.{key} is a group, not a setting; set one '
                           f'of {", ".join(group)}')
  raise errors.UserError(
      f'--config.{key} is no setting; nearest: --config.{_nearest(key)}')


def _nearest(key: str) -> str:
  known = settings.flatten(settings.Settings())
  return difflib.get_close_matches(key, known, 1, 0)[0]


def _wrong_type(overrides: Sequence[str], error: Exception) -> str:
  for override in overrides:
    key, _, value = override.removeprefix('--config.').partition('=')
    if override in str(error):
      return f'--config.{key} must be {_expected(key)}, got {value!r}'
  return str(error)


def _expected(key: str) -> str:
  default = settings.flatten(settings.Settings())[key]
  return settings.KINDS.get(type(default), 'one value, or several')
