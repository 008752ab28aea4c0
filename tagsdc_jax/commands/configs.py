"""Finds a config file, loads it and applies `--config.NAME=VALUE`."""

import dataclasses
import difflib
import re
import runpy
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import ml_collections

from tagsdc_jax import errors, extensions, paths, settings
from tagsdc_jax.settings import kinds

# Steps of a family of configs, in the order of training: their names end like
# this, and are of this phase. A first step of pretraining trains alignment.
STEPS = {'align': 'pretrain'} | {phase: phase for phase in settings.PHASES}
_OPTIONAL = frozenset({'align', 'pretrain'})
# Names of earlier versions, whose numbers were others.
_RENAMED = {
  'uniter_lmdb_small_pretrain': 'own_small_pretrain',
  'uniter_lmdb_small': 'own_small_tags',
  'uniter_lmdb_small_dc': 'own_small_dc',
}
# Messages of ml_collections for keys and values that cannot be set.
_UNKNOWN = re.compile(r'Key "(\w+)" does not exist')
_KIND = re.compile(
  r"field '(\w+)' .*?\. (.*) is of original type "
  r"<class '(.*?)'> .* to type <class '(.*?)'>"
)


def load(name: str, overrides: Sequence[str]) -> settings.Settings:
  """Returns the settings of a config file with overrides applied.

  Args:
    name: path of a file with `get_config()`, or name of a built-in config.
    overrides: each `--config.KEY=VALUE`. The last of several with the same key
      counts, but a list of values cannot be given twice. Such a list is
      separated by commas, or written as in Python, "('a.db', 'b.db')", where
      quoted names may contain commas.
  Raises:
    UserError: for an unknown file or key, or a value out of its range.
  """
  find(name)  # What is missing shows first.
  values: dict[str, Any] = {}
  for key, value in map(_parse, overrides):
    if isinstance(value, tuple) and values.get(key, value) != value:
      raise errors.UserError(
        f'--config.{key} is given twice, with different values; pass all of '
        f'them at once, --config.{key}=A,B'
      )
    values[key] = value
  return with_values(name, values)


def load_phases(
  family: str, overrides: Sequence[str]
) -> dict[str, settings.Settings]:
  """Returns the settings of each step, of FAMILY_tags, FAMILY_dc and so on.

  FAMILY_pretrain may be missing, where stage 1 starts from weights made
  elsewhere; FAMILY_align is a first step of pretraining that few have.

  Args:
    family: name of built-in configs without the phase at its end, or path of
      files, such as mine.py for mine_pretrain.py.
    overrides: as for `load`; they apply to every step.
  Returns:
    {step: settings}, in the order of training.
  Raises:
    UserError: as `load`; also if a config is one of another phase.
  """
  stem = family.removesuffix('.py')
  ending = family[len(stem) :]
  every = {step: f'{stem}_{step}{ending}' for step in STEPS}
  if not any(map(_exists, every.values())):
    raise errors.UserError(
      f'--phases {family}: no config is named {every["tags"]} or '
      f'{every["dc"]}; built-in: {", ".join(families())}'
    )
  found = {}
  for step, name in every.items():
    if step in _OPTIONAL and not _exists(name):
      continue
    found[step] = load(name, overrides)
    if found[step].phase != STEPS[step]:
      raise errors.UserError(
        f'config {name} must have phase {STEPS[step]}, got {found[step].phase}'
      )
  return found


def families() -> list[str]:
  """Returns the names that `load_phases` takes for built-in configs."""
  endings = tuple(f'_{phase}' for phase in settings.PHASES[1:])
  stems = [
    {n.removesuffix(end) for n in names() if n.endswith(end)} for end in endings
  ]
  return sorted(set.intersection(*stems))


def add_option(target: Any, is_required: bool = False) -> None:
  """Adds `--config` to a parser, or to a group of one."""
  target.add_argument(
    '--config',
    required=is_required,
    metavar='NAME|FILE',
    help=f'one of {", ".join(names())}, or a Python file with get_config(); '
    'override with --config.NAME=VALUE (see tagsdc settings)',
  )


def with_values(name: str, values: Mapping[str, Any]) -> settings.Settings:
  """Returns the settings of a config file with some values replaced.

  Args:
    name: as for `load`.
    values: dotted name -> value.
  Raises:
    UserError: as `load`.
  """
  path = find(name)
  config = _run_file(path, name)
  try:
    flat = settings.flatten_config(config)
    if 'preset' in values:  # Before all other overrides.
      for key, value in flat.items():
        settings.check_value(key, value)
      settings.apply_preset(config, values['preset'])
      flat = settings.flatten_config(config)
    return _with_folder(settings.from_flat(flat | dict(values)), path)
  except (ValueError, errors.UserError) as error:
    raise errors.UserError(f'config {name}: {error}') from error


def _with_folder(config: settings.Settings, path: Path) -> settings.Settings:
  """Returns the settings with the folder of the user's extensions, if any."""
  has_own = any(
    isinstance(name, str) and extensions.is_own(name)
    for key, setting in settings.ALL.items()
    if isinstance(getattr(setting.kind, 'of', setting.kind), kinds.Named)
    for name in _as_tuple(settings.flatten(config)[key])
  )
  if config.extensions or not has_own:
    return config
  return dataclasses.replace(config, extensions=str(path.absolute().parent))


def _as_tuple(value: Any) -> tuple[Any, ...]:
  return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def names() -> list[str]:
  """Returns the names of the built-in configs."""
  folder = resources.files('tagsdc_jax.configs')
  return sorted(
    entry.name[:-3]
    for entry in folder.iterdir()
    if entry.name.endswith('.py') and not entry.name.startswith('_')
  )


def find(name: str) -> Path:
  """Returns the path of a config file given by path or by name."""
  path = paths.local(name)
  if path.is_file():
    return path
  short = path.name.removesuffix('.py')
  if short in names():
    return Path(str(resources.files('tagsdc_jax.configs') / f'{short}.py'))
  if short in _RENAMED:
    raise errors.UserError(
      f'config {name} is now {_RENAMED[short]}, with smaller batches and '
      'pools; pass that, and earlier numbers as --config.NAME=VALUE'
    )
  if short in families():
    own = [f'{short}_{step}' for step in STEPS]
    own = [one for one in own if one in names()]
    raise errors.UserError(
      f'config {name} is one per phase: pass {" or ".join(own)}, or, to train '
      f'all of them, tagsdc train --phases {short}'
    )
  close = difflib.get_close_matches(short, names(), 1, 0)
  raise errors.UserError(
    f'config {name} is neither a file nor a built-in config; '
    f'nearest: {close[0]} (built-in: {", ".join(names())})'
  )


def _exists(name: str) -> bool:
  return paths.local(name).is_file() or Path(name).stem in names()


def _run_file(path: Path, name: str) -> ml_collections.ConfigDict:
  try:
    content = runpy.run_path(str(path))
    if 'get_config' not in content:
      raise errors.UserError(
        f'config {name} must define get_config(), see configs/ for examples'
      )
    config = content['get_config']()
  except errors.UserError:
    raise
  except (Exception, SystemExit) as error:  # User code may raise anything.
    raise errors.UserError(
      f'config {name} cannot be used: {_place(error, path)}{_reason(error)}'
    ) from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise errors.UserError(
      f'get_config() of {name} must return a (modified) '
      f'settings.default_config(), got {type(config).__name__}'
    )
  return config


def _place(error: BaseException, path: Path) -> str:
  """Returns the line of the file that caused the error, for a message."""
  line = errors.line_of(error, path)
  return f'line {line}: ' if line else ''


def _reason(error: BaseException) -> str:
  unknown = _UNKNOWN.search(str(error))
  if unknown:
    return f'{unknown[1]} is not a setting; nearest: {_nearest(unknown[1])}'
  kind = _KIND.search(str(error))
  if kind:
    known = [
      setting.kind
      for name, setting in settings.ALL.items()
      if name.split('.')[-1] == kind[1]
    ]
    if not known:
      return f'{kind[1]} is a group of settings, got {kind[2]}'
    # Names the type, because the value alone may look valid.
    return (
      f'{kind[1]} must be {known[0]}, got {kind[2]} of type {kind[3]}, '
      f'not {kind[4]}'
      + ('; write None' if kind[2].lower() == kinds.OFF else '')
    )
  if isinstance(error, SyntaxError):
    return f'{type(error).__name__}: {error.msg}'
  return f'{type(error).__name__}: {error}'


def _parse(override: str) -> tuple[str, Any]:
  """Returns key and value of `--config.KEY=VALUE`."""
  key, equals, text = override.removeprefix('--config.').partition('=')
  if key in settings.ALL:
    if not equals:
      raise errors.UserError(f'{override} needs a value: --config.{key}=VALUE')
    try:
      return key, settings.parse_value(key, text)
    except ValueError as error:
      raise errors.UserError(f'--config.{error}') from error
  group = [name for name in settings.ALL if name.startswith(f'{key}.')]
  if group:
    raise errors.UserError(
      f'--config.{key} is a group, not a setting; set one of {", ".join(group)}'
    )
  raise errors.UserError(
    f'--config.{key} is not a setting; nearest: --config.{_nearest(key)}'
  )


def _nearest(key: str) -> str:
  return difflib.get_close_matches(key, settings.ALL, 1, 0)[0]
