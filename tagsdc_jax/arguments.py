"""Types of command-line options, and the parser that takes them.

An option that stands for a setting has the setting's range; a path is one of
this machine. What is wrong is one line.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tagsdc_jax import errors, paths, settings
from tagsdc_jax.settings import kinds

_T = TypeVar('_T')


class Parser(argparse.ArgumentParser):
  """Says in one line what is wrong, and leaves the usage to --help."""

  def error(self, message: str) -> NoReturn:
    """Exits with code 2 and one line."""
    line = ' '.join(message.split())
    self.exit(2, f'{self.prog}: {line}; see {self.prog} --help\n')


def setting(name: str) -> Callable[[str], Any]:
  """Returns the type of an option that stands for a setting."""
  return _of(lambda text: settings.parse_value(name, text))


def of_kind(kind: kinds.Kind) -> Callable[[str], Any]:
  """Returns the type of an option that is no setting."""
  return _of(lambda text: kinds.parsed('it', kind, text))


def path(text: str) -> Path:
  """See `paths.local`."""
  return _of(paths.local)(text)


def location(text: str) -> str:
  """See `paths.expanded`; what is no path, as shipped:NAME, stays as it is."""
  return _of(paths.expanded)(text)


def folder(text: str) -> Path:
  """See `paths.folder`."""
  return _of(paths.folder)(text)


def _of(convert: Callable[[str], _T]) -> Callable[[str], _T]:
  """Returns a type whose errors argparse shows as they are."""

  def convert_or_explain(text: str) -> _T:
    try:
      return convert(text)
    except (ValueError, errors.UserError) as error:
      raise argparse.ArgumentTypeError(str(error)) from error

  return convert_or_explain
