"""The exceptions that the command line shows as a line of text."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Libraries pass these words of the system on, in exceptions of their own; the
# last are numpy's own, of an array that was not written whole.
_FULL = re.compile(
  'No space left on device|Disk quota exceeded|'
  r'\d requested and \d+ written'
)


class UserError(Exception):
  """Bad input or setting: names the thing, what was expected, what came.

  `tagsdc` prints it as one line and leaves with exit code 2, so its text must
  stand alone: say what to change.
  """


class Stopped(BaseException):
  """The command was asked to leave and has lost nothing.

  Like KeyboardInterrupt it may be raised anywhere, so nothing that handles
  errors may take it for one. `tagsdc` prints its text as one line and leaves
  with its code.
  """

  def __init__(self, text: str, code: int = 0) -> None:
    super().__init__(text)
    self.code = code


def refusal(error: BaseException, option: str = 'path') -> str | None:
  """Returns why the file system refused, and what to do.

  None if the error is about something else, and may be a bug.

  Args:
    error: what was raised.
    option: what may be given otherwise, "give another OPTION".
  """
  if _FULL.search(str(error)):
    return 'no space is left there; free some, then give the same command again'
  if isinstance(error, PermissionError):
    return (
      f'permission denied; change its owner or mode, or give another {option}'
    )
  if isinstance(error, OSError) and error.strerror:
    return f'{error.strerror}; give another {option}'
  return None


def line_of(error: BaseException, path: Path) -> int | None:
  """Returns the line of a Python file that an error comes from, if any."""
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
  """Raises UserError with the path where the file system refuses.

  Args:
    path: what is read or written.
    verb: for the line, "PATH cannot be VERB: ...".
    option: see `refusal`.
  """
  try:
    yield
  except Exception as error:
    reason = refusal(error, option)
    if reason is None or isinstance(error, UserError):
      raise
    raise UserError(f'{path} cannot be {verb}: {reason}') from error
