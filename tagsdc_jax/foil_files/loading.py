"""Reads JSON, JSON lines and tables into records, whatever is in them."""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files

_DELIMITERS = '\t,;|'
_MOST_BYTES = 2**31
# First bytes of formats that people download by mistake, and what to do.
_BINARY = {
  b'PAR1': 'a Parquet file; write it as JSON lines, for example with pandas',
  b'PK\x03\x04': 'a zip archive; unpack it',
  b'\x1f\x8b': 'compressed with gzip; unpack it',
  b'\x89HDF': 'an HDF5 file; pass JSON, JSON lines or CSV',
  b'\x93NUMPY': 'a numpy file; pass JSON, JSON lines or CSV',
  b'\x80': 'a pickle, which is not read; pass JSON, JSON lines or CSV',
}
# Lists that datasets are wrapped in, by the name of the only list of records.
_WRAPPED = ('rows', 'data', 'examples', 'items', 'test', 'validation', 'train')
_NO_BYTES = re.compile(r'\x00')


class Repeated(ValueError):
  """A key is there twice in a JSON object."""


@dataclasses.dataclass(frozen=True)
class Content:
  """The records of a file.

  Attributes:
    path: the file.
    whole: the parsed JSON; None for JSON lines and tables.
    records: (place in the file, for messages; record). Cells of tables are
      strings.
    is_table: whether it is CSV or the like.
  """

  path: Path
  whole: Any
  records: Sequence[tuple[str, Any]]
  is_table: bool = False

  @property
  def first(self) -> Any:
    """The first record."""
    return self.records[0][1]

  def where(self, place: str) -> str:
    """Returns file and record, for messages."""
    return f'{self.path}: {place}'


def load(path: Path) -> Content:
  """Returns the records of a file, found by looking at it.

  Args:
    path: JSON, JSON lines, or a table with a header line, in UTF-8.
  Raises:
    UserError: if it cannot be read, is empty, cut off, or something else.
  """
  text = _read(path)
  start = text.lstrip()[:1]
  if start in ('{', '['):
    return _load_json(path, text)
  return _load_table(path, text)


def _read(path: Path) -> str:
  with errors.named(path, 'read', 'file'):
    if path.is_dir():
      raise errors.UserError(
        f'{path} is a folder; pass the files in it, for example {path}/*.json'
      )
    files.check_no_pointer(path)
    with open(path, 'rb') as file:
      content = file.read(_MOST_BYTES)
  if not content.strip():
    raise errors.UserError(f'{path} is empty; copy or download it again')
  kind = next(
    (text for head, text in _BINARY.items() if content.startswith(head)), None
  )
  if kind is None and (files.kind_of_text(path) or '').startswith('a web page'):
    kind = files.kind_of_text(path)
  if kind is not None:
    raise errors.UserError(f'{path} is {kind}')
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise errors.UserError(
      f'{path}: expected UTF-8 text, got byte {content[error.start]:#x} at '
      f'{error.start}; pass JSON, JSON lines or CSV, in UTF-8'
    ) from error
  if _NO_BYTES.search(text):
    raise errors.UserError(
      f'{path}: expected text, got a NUL byte at '
      f'{text.index(chr(0)):,}; copy or download it again'
    )
  return text


def _load_json(path: Path, text: str) -> Content:
  try:
    whole = _parse(text)
  except Repeated as error:
    raise errors.UserError(f'{path}: {error}') from error
  except (ValueError, RecursionError) as error:
    if isinstance(error, json.JSONDecodeError) and error.msg == 'Extra data':
      return Content(path, None, _parse_lines(path, text))
    raise _broken(path, error) from error
  return Content(path, whole, _records(path, whole))


def _broken(path: Path, error: Exception, line: int = 0) -> errors.UserError:
  where = f'{path}: line {line}' if line else f'{path}'
  if isinstance(error, json.JSONDecodeError):
    at = f'line {line or error.lineno}, column {error.colno}'
    said = error.msg.removesuffix(' at')
    what = f'{said[0].lower()}{said[1:]} at {at}'
  else:
    what = str(error)
  return errors.UserError(
    f'{where} is not whole JSON ({what}); if the file is cut off, copy or '
    'download it again'
  )


def _parse(text: str) -> Any:
  return json.loads(text, object_pairs_hook=_without_repetitions)


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    seen: set[str] = set()
    for key, _ in pairs:
      if key in seen:
        raise Repeated(
          f'key {key[:60]!r} is there twice in one object; each record needs a '
          'key of its own'
        )
      seen.add(key)
  return found


def _parse_lines(path: Path, text: str) -> list[tuple[str, Any]]:
  records = []
  # Not splitlines(), which also splits at U+2028 and the like.
  for number, line in enumerate(text.split('\n'), 1):
    if not line.strip():
      continue
    try:
      records.append((f'line {number}', _parse(line)))
    except Repeated as error:
      raise errors.UserError(f'{path}: line {number}: {error}') from error
    except (ValueError, RecursionError) as error:
      raise _broken(path, error, number) from error
  return records


def _records(path: Path, whole: Any) -> list[tuple[str, Any]]:
  """Returns the records of a JSON value."""
  if isinstance(whole, Mapping):
    for name in _WRAPPED:
      inside = whole.get(name)
      if isinstance(inside, list) and inside:
        # As the Hugging Face viewer serves them: {"row_idx": 0, "row": {...}}.
        rows = [
          one['row']
          if isinstance(one, Mapping) and isinstance(one.get('row'), Mapping)
          else one
          for one in inside
        ]
        return [(f'{name}[{i}]', row) for i, row in enumerate(rows)]
    if whole and all(isinstance(x, Mapping | list) for x in whole.values()):
      return [(f'record {key!r}', value) for key, value in whole.items()]
    # A single JSON line.
    records = [('the record', whole)] if whole else []
  elif isinstance(whole, list):
    records = [(f'record [{i}]', value) for i, value in enumerate(whole)]
  else:
    records = []
  if not records:
    raise errors.UserError(
      f'{path}: expected records with captions and foils, got {describe(whole)}'
    )
  return records


def _load_table(path: Path, text: str) -> Content:
  header_line = text.split('\n', 1)[0]
  delimiter = max(_DELIMITERS, key=header_line.count)
  csv.field_size_limit(2**31 - 1)
  rows = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
  records: list[tuple[str, Any]] = []
  try:
    header = [name.strip() for name in next(rows, [])]
    last = rows.line_num
    if len(set(header)) < len(header) or len(header) < 2:
      raise errors.UserError(
        f'{path}: expected JSON, JSON lines, or a table whose first line names '
        f'its columns, got {header_line.strip()[:60]!r}'
      )
    for row in rows:
      last, at = rows.line_num, last + 1
      if not any(row):
        continue
      if len(row) != len(header):
        raise errors.UserError(
          f'{path}: line {at}: expected {len(header)} fields as in the first '
          f'line, got {len(row)}; fields that contain {delimiter!r} need quotes'
        )
      records.append((f'line {at}', dict(zip(header, row, strict=True))))
  except csv.Error as error:
    raise errors.UserError(
      f'{path}: line {rows.line_num} is no row of a table ({error})'
    ) from error
  if not records:
    raise errors.UserError(
      f'{path}: expected rows below the names of the columns, got none'
    )
  return Content(path, None, records, is_table=True)


def describe(value: Any) -> str:
  """Returns in a few words what a value of a file is."""
  if isinstance(value, Mapping):
    keys = ', '.join(list(map(str, value))[:6])
    return f'an object with {keys[:80] or "nothing"}'
  if isinstance(value, list):
    return 'a list' + (f' of {describe(value[0])}' if value else ' of nothing')
  return repr(value)[:40]
