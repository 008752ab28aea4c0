"""Types of command-line options, and the argument parser.

An option that sets a setting has that setting's range, and paths are local.
Errors are one line.
"""

import argparse
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tagsdc_jax import errors, paths, settings
from tagsdc_jax.settings import kinds

_T = TypeVar('_T')


class Parser(argparse.ArgumentParser):
  """Reports errors in one line, without the usage text (see --help)."""

  def error(self, message: str) -> NoReturn:
    """Prints the error in one line and exits with code 2."""
    line = ' '.join(message.split())
    self.exit(2, f'{self.prog}: {line}; see {self.prog} --help\n')


def setting(name: str) -> Callable[[str], Any]:
  """Returns the type of an option that sets a setting."""
  return _of(lambda text: settings.parse_value(name, text))


def of_kind(kind: kinds.Kind) -> Callable[[str], Any]:
  """Returns the type of an option that is not a setting."""
  return _of(lambda text: kinds.parsed('it', kind, text))


def path(text: str) -> Path:
  """See `paths.local`."""
  return _of(paths.local)(text)


def location(text: str) -> str:
  """See `paths.expanded`; also takes shipped:NAME, which is not a path."""
  return _of(paths.expanded)(text)


def folder(text: str) -> Path:
  """See `paths.folder`."""
  return _of(paths.folder)(text)


def part(text: str) -> tuple[int, int]:
  """Returns (I - 1, N) of I/N."""
  first, _, last = text.partition('/')
  if not (
    first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)
  ):
    raise argparse.ArgumentTypeError(
      f'it must be I/N with 1 <= I <= N, such as 2/4, got {text!r}'
    )
  return int(first) - 1, int(last)


def described(items: Mapping[str, str]) -> str:
  """Returns lines of names and what they are, aligned, for a command's help."""
  width = max(map(len, items))
  return '\n'.join(
    textwrap.fill(
      f'{name:{width}}  {text}',
      initial_indent='  ',
      subsequent_indent=' ' * (width + 4),
      width=80,
    )
    for name, text in items.items()
  )


def _of(convert: Callable[[str], _T]) -> Callable[[str], _T]:
  """Returns an option type whose error messages argparse shows verbatim."""

  def convert_or_explain(text: str) -> _T:
    try:
      return convert(text)
    except (ValueError, errors.UserError) as error:
      raise argparse.ArgumentTypeError(str(error)) from error

  return convert_or_explain
