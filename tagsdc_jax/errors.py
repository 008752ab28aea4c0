"""Exceptions that the command line shows as one line of text."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Libraries put these system messages into exceptions of their own; the last one
# is numpy's, for an array that was only partly written.
_FULL = re.compile(
  'No space left on device|Disk quota exceeded|'
  r'\d requested and \d+ written'
)


class UserError(Exception):
  """Bad input or setting: says what was expected, what it got, what to do.

  `tagsdc` prints it as one line and exits with code 2, so the text must stand
  on its own.
  """


class Stopped(BaseException):
  """The command was asked to stop, and no work is lost.

  Like KeyboardInterrupt it may be raised anywhere, so it is not an `Exception`
  that an error handler would catch. `tagsdc` prints its text as one line and
  exits with its code.
  """

  def __init__(self, text: str, code: int = 0) -> None:
    super().__init__(text)
    self.code = code


def refusal(error: BaseException, option: str = 'path') -> str | None:
  """Returns why the file system refused, and what to do.

  Returns None if the error has another cause, and may be a bug.

  Args:
    error: the exception that was raised.
    option: for the advice, "give another OPTION".
  """
  if _FULL.search(str(error)):
    return 'no space is left there; free some, then run the same command again'
  if isinstance(error, PermissionError):
    return (
      f'permission denied; change its owner or mode, or pass another {option}'
    )
  if isinstance(error, OSError) and error.strerror:
    return f'{error.strerror}; pass another {option}'
  return None


def line_of(error: BaseException, path: Path) -> int | None:
  """Returns the line of a Python file that an error comes from, or None."""
  if isinstance(error, SyntaxError):
    return error.lineno
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == str(path)
  ]
  return lines[-1] if lines else None


@contextmanager
def named(
  path: Path, verb: str = 'written', option: str = 'path'
) -> Iterator[None]:
  """Turns file system errors inside the block into UserErrors with the path.

  Args:
    path: the path that is read or written.
    verb: for the message, "PATH cannot be VERB: ...".
    option: see `refusal`.
  """
  try:
    yield
  except Exception as error:
    reason = refusal(error, option)
    if reason is None or isinstance(error, UserError):
      raise
    raise UserError(f'{path} cannot be {verb}: {reason}') from error
