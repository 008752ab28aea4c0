"""What users add by name: `module:function` of a file beside their config.

Each room keeps one dict of what is built in (sources of negatives, pair
losses, data sources, evaluation protocols); `find` looks there first.
"""

import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors


def is_own(name: str) -> bool:
  """Returns whether a name is a user's `module:function`."""
  return ':' in name


def find(name: str, known: Mapping[str, Any], setting: str,
         folder: str) -> Any:
  """Returns what a name stands for.

  Args:
    name: a key of `known`, or a user's `module:function`.
    known: what is built in.
    setting: where the name was given, for messages: "negatives.sources".
    folder: where the user's module lies, see the setting `extensions`.
  Raises:
    UserError: if there is no such thing, or the user's file cannot be run.
  """
  if not is_own(name):
    if name in known:
      return known[name]
    raise errors.UserError(
        f'{setting} must be one of {", ".join(known)}, or module:function of '
        f'a file beside your config, got {name!r}')
  module, _, function = name.partition(':')
  path = Path(folder or '.').absolute() / f'{module}.py'
  if not path.is_file():
    raise errors.UserError(
        f'{setting} names {name}, but there is no file {path}; put it beside '
        'the config file, or give --config.extensions=FOLDER')
  found = getattr(_run(path, setting, name), function, None)
  if found is None:
    raise errors.UserError(
        f'{setting} names {name}, but {path} defines no {function}')
  return found


def _run(path: Path, setting: str, name: str) -> Any:
  """Returns the module of a file, which is run once per process."""
  key = f'tagsdc_jax_extension:{path}'
  if key in sys.modules:
    return sys.modules[key]
  spec = importlib.util.spec_from_file_location(key, path)
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  sys.modules[key] = module  # Before it runs: dataclasses look there.
  try:
    spec.loader.exec_module(module)
  except Exception as error:  # Whatever the file does.
    del sys.modules[key]
    if isinstance(error, SyntaxError):
      line: int | None = error.lineno
    else:
      own = [frame.lineno for frame in traceback.extract_tb(
          error.__traceback__) if frame.filename == str(path)]
      line = own[-1] if own else None
    where = f', line {line}' if line else ''
    raise errors.UserError(
        f'{setting} names {name}, but {path}{where} cannot be run: '
        f'{type(error).__name__}: {error}') from error
  return module


def call(name: str, setting: str, function: Any, *arguments: Any) -> Any:
  """Returns what a user's function gives.

  Args:
    name: its name, for messages.
    setting: see `find`.
    function: it, or what calls it.
    *arguments: what it is called with.
  Raises:
    UserError: if it raises.
  """
  try:
    return function(*arguments)
  except errors.UserError:
    raise
  except Exception as error:  # Whatever the function does.
    if not is_own(name):
      raise
    raise errors.UserError(
        f'{setting} names {name}, which fails: {_place(error, name)}'
        f'{type(error).__name__}: {error}') from error


def _place(error: Exception, name: str) -> str:
  """Returns the line of the user's file that an error comes from."""
  own = [frame for frame in traceback.extract_tb(error.__traceback__)
         if Path(frame.filename).stem == name.partition(':')[0]]
  return f'{own[-1].filename}, line {own[-1].lineno}: ' if own else ''
