"""User extensions: `module:function` names a function beside the config file.

Each package has a dict of its built-ins (sources of negatives, pair losses,
data sources, evaluation protocols); `find` looks there first.
"""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors

_KEY = 'tagsdc_jax_extension:'  # Prefix of the module's name, before its path.


def is_own(name: str) -> bool:
  """Returns whether a name is a user's `module:function`."""
  return ':' in name


def find(
  name: str,
  known: Mapping[str, Any],
  setting: str,
  folder: str,
  kind: type | None = None,
) -> Any:
  """Returns the object that a name refers to.

  Args:
    name: a key of `known`, or a user's `module:function`.
    known: the built-ins by name.
    setting: the setting with the name, for messages: "negatives.sources".
    folder: folder of the user's module, see the setting `extensions`.
    kind: type that the name may refer to instead of a function.
  Raises:
    UserError: if the name is unknown, or the user's file cannot be run.
  """
  if not is_own(name):
    if name in known:
      return known[name]
    raise errors.UserError(
      f'{setting} must be one of {", ".join(known)}, or module:function for a '
      f'function of module.py beside your config file, got {name!r}'
    )
  module, _, function = name.partition(':')
  path = Path(folder or '.').absolute() / f'{module}.py'
  if not path.is_file():
    raise errors.UserError(
      f'{setting} names {name}, but there is no file {path}; put it beside '
      'the config file, or pass --config.extensions=FOLDER'
    )
  found = getattr(_run(path, setting, name), function, None)
  if found is None:
    raise errors.UserError(
      f'{setting} names {name}, but {path} defines no {function}'
    )
  if not (callable(found) or kind and isinstance(found, kind)):
    wanted = f'a {kind.__name__} or a function' if kind else 'a function'
    raise errors.UserError(
      f'{setting} names {name}, which must be {wanted}, got '
      f'{type(found).__name__}'
    )
  return found


def call(function: Callable[..., Any], what: str, *args: Any) -> Any:
  """Calls a user's function and returns its result.

  Args:
    function: from `find`, or returned by such a function.
    what: the function and its purpose, for the message.
    *args: the function's arguments.
  Raises:
    UserError: if the function raises anything, with the line in its file.
  """
  try:
    return function(*args)
  except MemoryError:
    raise
  except (Exception, SystemExit) as error:  # User code may raise anything.
    is_user_error = isinstance(error, errors.UserError)
    if is_user_error and str(error).startswith(what):
      raise
    own = [
      f'{Path(frame.f_code.co_filename).name}, line {line}: '
      for frame, line in traceback.walk_tb(error.__traceback__)
      if frame.f_globals.get('__name__', '').startswith(_KEY)
    ]
    reason = str(error) if is_user_error else _first_line(error)
    raise errors.UserError(
      f'{what} failed: {"".join(own[-1:])}{reason}'
    ) from error


def _first_line(error: BaseException) -> str:
  """Returns kind and message; what JAX explains below it is left out."""
  # What a SyntaxError is shown as names the line once more.
  text = error.msg if isinstance(error, SyntaxError) else str(error)
  return ': '.join([type(error).__name__, *text.strip().splitlines()[:1]])


def _run(path: Path, setting: str, name: str) -> Any:
  """Returns the module of a file, imported once per process."""
  key = f'{_KEY}{path}'
  if key in sys.modules:
    return sys.modules[key]
  spec = importlib.util.spec_from_file_location(key, path)
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  sys.modules[key] = module  # Before execution: dataclasses need it.
  try:
    spec.loader.exec_module(module)
  except (Exception, SystemExit) as error:  # User code may raise anything.
    del sys.modules[key]
    line = errors.line_of(error, path)
    where = f', line {line}' if line else ''
    raise errors.UserError(
      f'{setting} names {name}, but {path}{where} cannot be run: '
      f'{_first_line(error)}'
    ) from error
  return module
