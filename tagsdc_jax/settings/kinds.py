"""Kinds of settings: type and range, declared next to the default.

A kind checks values (from config files and config.json), parses strings (from
the command line) and describes itself for messages: `str(kind)` follows "must
be".
"""

import ast
import csv
import dataclasses
import numbers
import re
from typing import Any

from tagsdc_jax import paths

# Upper limit of rows in a batch, a tile or a pool: far beyond any run.
MOST_ROWS = 2**20
# Stands for None on the command line, where None is allowed.
OFF = 'none'
# How an empty string or list is shown.
EMPTY = 'empty'
_TRUE, _FALSE = ('true', 't', '1'), ('false', 'f', '0')
_LONGEST_SHOWN = 100
# A user's module:function.
_OWN = re.compile(r'[A-Za-z_]\w*:[A-Za-z_]\w*')


class Refused(ValueError):
  """A value is invalid for another reason, stated in the message."""


@dataclasses.dataclass(frozen=True)
class Kind:
  """Base of all kinds.

  Attributes:
    off: what None means, for messages; '': None is not allowed.
  """

  off: str = dataclasses.field(default='', kw_only=True)

  def take(self, value: Any) -> Any:
    """Returns the value as a plain Python object.

    Raises:
      ValueError: if it is of another type or out of range. `Refused` has a
        message.
    """
    return None if value is None and self.off else self._take(value)

  def parse(self, text: str) -> Any:
    """Returns the value that a string stands for; raises as `take`."""
    if self.off and text.strip().lower() == OFF:
      return None
    return self.take(self._parse(text))

  def __str__(self) -> str:
    return self._words() + (f', or {OFF} for {self.off}' if self.off else '')

  def _take(self, value: Any) -> Any:
    raise NotImplementedError

  def _parse(self, text: str) -> Any:
    return text

  def _words(self) -> str:
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Whole(Kind):
  """A whole number in a closed range."""

  least: int
  most: int

  def _take(self, value: Any) -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
      raise ValueError
    if not self.least <= int(value) <= self.most:
      raise ValueError
    return int(value)

  def _parse(self, text: str) -> int:
    return int(text)

  def _words(self) -> str:
    return f'a whole number from {self.least} to {self.most}'


@dataclasses.dataclass(frozen=True)
class Number(Kind):
  """A number in a closed range."""

  least: float
  most: float

  def _take(self, value: Any) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
      raise ValueError
    try:
      number = float(value)
    except OverflowError as error:  # An integer with hundreds of digits.
      raise ValueError from error
    if not self.least <= number <= self.most:  # Also false for nan.
      raise ValueError
    return number

  def _parse(self, text: str) -> float:
    return float(text)

  def _words(self) -> str:
    return f'a number from {self.least:g} to {self.most:g}'


@dataclasses.dataclass(frozen=True)
class Flag(Kind):
  """True or false."""

  def _take(self, value: Any) -> bool:
    if not isinstance(value, bool):
      raise ValueError
    return value

  def _parse(self, text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
      raise ValueError
    return text.lower() in _TRUE

  def _words(self) -> str:
    return 'true or false'


@dataclasses.dataclass(frozen=True)
class Choice(Kind):
  """One of several words."""

  words: tuple[str, ...]

  def _take(self, value: Any) -> str:
    if not isinstance(value, str) or value not in self.words:
      raise ValueError
    return value

  def _words(self) -> str:
    return f'one of {", ".join(self.words)}'


@dataclasses.dataclass(frozen=True)
class Named(Kind):
  """One of several words, or a user's `module:function`."""

  words: tuple[str, ...]

  def _take(self, value: Any) -> str:
    if not isinstance(value, str) or not (
      value in self.words or _OWN.fullmatch(value)
    ):
      raise ValueError
    return value

  def _words(self) -> str:
    return (
      f'one of {", ".join(self.words)}, or module:function for a function '
      'of module.py beside your config file'
    )


@dataclasses.dataclass(frozen=True)
class LocalPath(Kind):
  """A local path, or a name such as shipped:NAME; `~` is expanded."""

  may_be_empty: bool = True

  def _take(self, value: Any) -> str:
    if not isinstance(value, str):
      raise ValueError
    if not value and self.may_be_empty:
      return value
    if reason := paths.problem(value):
      raise Refused(reason)
    return paths.expanded(value)

  def _words(self) -> str:
    return 'a path on this machine'


@dataclasses.dataclass(frozen=True)
class Updates(Kind):
  """Updates as "10-12" or "10", counted from 1; '' for none."""

  def _take(self, value: Any) -> str:
    if not isinstance(value, str):
      raise ValueError
    profiled_updates(value)
    return value

  def _words(self) -> str:
    return 'updates such as 10-12, counted from 1'


@dataclasses.dataclass(frozen=True)
class Several(Kind):
  """Any number of values of one kind, a tuple."""

  of: Kind

  def _take(self, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
      raise ValueError
    return tuple(self.of.take(x) for x in value)

  def _parse(self, text: str) -> tuple[Any, ...]:
    """Returns the values of "a,b", "a" or "('a', 'b')"; () for ""."""
    text = text.strip()
    try:
      # Python syntax: quotes, for names that contain a comma.
      found = ast.literal_eval(text)
      return self._take((found,) if isinstance(found, str) else found)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
      pass
    if text[:1] + text[-1:] in ('()', '[]'):
      text = text[1:-1]
    try:
      words = next(
        csv.reader([text], quotechar="'", skipinitialspace=True, strict=True),
        [],
      )
    except csv.Error as error:
      raise ValueError from error
    if words and not words[-1].strip():  # As in Python's "(5,)".
      words.pop()
    return tuple(self.of.parse(word.strip()) for word in words)

  def _words(self) -> str:
    return f'{self.of}, or several, separated by commas'


def profiled_updates(text: str) -> tuple[int, int]:
  """Returns the first and last update of "10-12" or "10"; (0, 0) for "".

  Raises:
    ValueError: if the string has another form.
  """
  if not text:
    return 0, 0
  match = re.fullmatch(r'([0-9]{1,9})(?:-([0-9]{1,9}))?', text)
  first = int(match[1]) if match else 0
  last = int(match[2] or first) if match else 0
  if not 1 <= first <= last:
    raise ValueError
  return first, last


def setting(default: Any, kind: Kind, meaning: str) -> Any:
  """Returns a dataclass field with a setting's default, kind and meaning."""
  return dataclasses.field(
    default=default, metadata={'kind': kind, 'meaning': meaning}
  )


def taken(name: str, kind: Kind, value: Any) -> Any:
  """Returns the value of a setting as a plain Python object.

  Raises:
    ValueError: if it is invalid; the message has name, range and value.
  """
  try:
    return kind.take(value)
  except ValueError as error:
    raise ValueError(_refusal(name, kind, value, error)) from error


def parsed(name: str, kind: Kind, text: str) -> Any:
  """Returns the value that a string stands for; raises as `taken`."""
  try:
    return kind.parse(text)
  except ValueError as error:
    raise ValueError(_refusal(name, kind, text, error)) from error


def _refusal(name: str, kind: Kind, value: Any, error: ValueError) -> str:
  line = f'{name} must be {kind}, got {shown(value)}'
  return f'{line}: {error}' if isinstance(error, Refused) else line


def shown(value: Any) -> str:
  """Returns a value as text for a message."""
  try:
    text = ' '.join(repr(value).split())
  except ValueError:  # Python does not print integers with thousands of digits.
    return f'one of type {type(value).__name__} that is too long to show'
  return text if len(text) <= _LONGEST_SHOWN else f'{text[:_LONGEST_SHOWN]}...'


def spelled(value: Any) -> str:
  """Returns a value as written on the command line; EMPTY if empty."""
  if value is None:
    return OFF
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, (tuple, list)):
    texts = [spelled(x) for x in value]
    if ',' in ''.join(texts):  # `Several` reads names with commas this way.
      return str(tuple(value))
    return ','.join(texts) or EMPTY
  return str(value) or EMPTY
