"""Finds the lines of tab-separated files of any size, and reads one of them.

Lines are split here, not by `csv`: they are longer than its fields may be, and
one pass has to find where each begins. Python's csv ends them by CR and LF,
other programs by LF.
"""

import base64
import binascii
import os
import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.preparing.regions.file_store import (
  DamagedError,
  FileStore,
  read_at,
  shown,
)
from tagsdc_jax.runtime.progress import progress_bar

_CHUNK = 1 << 22
# The id is the first column, so it lies within this many bytes.
HEAD = 1024
# A line of 300 regions of 4,096 numbers has 7 MB.
_LONGEST = 1 << 26
_DIGITS = re.compile(rb'\d{1,9}(\.0*)?')


def scan(path: Path) -> Iterator[tuple[int, int, bytes]]:
  """Yields where each line begins, its bytes without the LF, and its head."""
  with open(path, 'rb', buffering=0) as file:
    size = os.fstat(file.fileno()).st_size
    begin = at = 0
    head = b''
    with progress_bar(size, f'indexing {path.name}', 'bytes') as bar:
      while chunk := file.read(_CHUNK):
        place = 0
        while (end := chunk.find(b'\n', place)) >= 0:
          yield begin, at + end - begin, (head + chunk[place:end][:HEAD])[:HEAD]
          place, head = end + 1, b''
          begin = at + place
        head += chunk[place : place + HEAD - len(head)]
        at += len(chunk)
        bar.update(len(chunk))
    if at > begin:
      yield begin, at - begin, head


def first_line(path: Path) -> bytes:
  """Returns the first line that is not blank, without its end, or b''."""
  with open(path, 'rb') as file:
    for _ in range(1000):
      line = file.readline(_LONGEST)
      if not line or line.strip():
        return line.rstrip(b'\r\n')
  return b''


class LineStore(FileStore):
  """A file with a line per picture, whose first column is its name.

  Attributes:
    repeated: names that stand on several lines.
  """

  # Names of the columns. Some files begin with a line of them.
  columns: tuple[str, ...] = ()

  def __init__(self, path: Path) -> None:
    super().__init__(path, (), (path,))
    self._file = path.absolute()
    self._descriptor: int | None = None
    self._twice: dict[str, str] = {}
    self.repeated: set[str] = set()
    lines = self._known_lines()
    self._index(scan(self._file) if lines is None else lines)
    self._open()

  def __getstate__(self) -> dict:
    return self.__dict__ | {'_descriptor': None}

  def __del__(self) -> None:
    if getattr(self, '_descriptor', None) is not None:
      os.close(self._descriptor)  # type: ignore[arg-type]

  def row_of(self, name: str) -> int | None:
    """Returns the number of a picture's first line, from 0, or None."""
    return self._places.get(name)

  def _known_lines(self) -> Iterator[tuple[int, int, bytes]] | None:
    """Returns the lines as a file beside it says, in place of `scan`."""
    return None

  def _index(self, lines: Iterator[tuple[int, int, bytes]]) -> None:
    begins, sizes, numbers = array('q'), array('q'), array('q')
    places: dict[str, int] = {}
    repeated = 0
    end = os.stat(self._file).st_size
    for number, (begin, size, head) in enumerate(lines, 1):
      if not head.strip():
        continue
      raw, tab, _ = head.partition(b'\t')
      if not tab:
        if begin + size == end and places:  # No \n after it.
          self._note_cut(number, len(places))
          continue
        raise self._no_name(number, head)
      if number == 1 and raw.strip(b'"\'').decode('latin-1') in self.columns:
        self._check_header(begin, size)
        continue
      name = self._name(raw, number)
      begins.append(begin)
      sizes.append(size)
      numbers.append(number)
      place = places.setdefault(name, len(begins) - 1)
      if place != len(begins) - 1:
        repeated += 1
        self.repeated.add(name)
        if not self._are_equal(begins[place], sizes[place], begin, size):
          self._twice.setdefault(
            name,
            f'must be on one line, but lines {numbers[place]} and {number} '
            'differ; remove one of them',
          )
    self._begins, self._sizes, self._numbers = (
      np.frombuffer(x, np.int64) if x else np.zeros(0, np.int64)
      for x in (begins, sizes, numbers)
    )
    self._places = places
    if repeated:
      self.notes += (
        f'{self.path}: {repeated} lines repeat a picture; equal lines count '
        f'once, {len(self._twice)} pictures differ and cannot be used',
      )

  def _are_equal(self, begin: int, size: int, other: int, length: int) -> bool:
    return size == length <= _LONGEST and self._bytes(
      begin, size
    ) == self._bytes(other, length)

  def _name(self, raw: bytes, number: int) -> str:
    try:
      name = raw.decode('utf-8').strip().strip('"')
    except UnicodeDecodeError:
      name = ''
    if not name or not name.isprintable():
      raise errors.UserError(
        f'{self.path}, line {number}: must begin with the id of a picture, got '
        f'{shown(raw)}; copy or download the file again, or remove the line'
      )
    return name

  def _no_name(self, number: int, head: bytes) -> errors.UserError:
    return errors.UserError(
      f'{self.path}, line {number}: must begin with the id of a picture and a '
      f'tab ({self.kind}), got {shown(head)}; copy or download the file '
      'again, or remove the line'
    )

  def _note_cut(self, number: int, count: int) -> None:
    self.notes += (
      f'{self.path}: line {number}, the last, is cut off within its id; the '
      f'{count} pictures before it can be read: copy or download the file '
      'again if there should be more',
    )

  def _check_header(self, begin: int, size: int) -> None:
    line = self._bytes(begin, min(size, HEAD)).decode('latin-1').strip()
    found = tuple(x.strip('"') for x in line.split('\t'))
    if found != self.columns:
      raise errors.UserError(
        f'{self.path}: columns must be {", ".join(self.columns)} '
        f'({self.kind}), got {", ".join(found)}; write them in this order'
      )

  def _where(self, name: str) -> str:
    number = self._numbers[self._places[name]]
    return f'{self.path}, line {number}: picture {name}'

  def _fields(self, name: str, count: int) -> list[bytes]:
    """Returns the columns of a picture's line, without their quotes."""
    if name in self._twice:
      raise DamagedError(self._twice[name])
    place = self._places[name]
    line = self._bytes(int(self._begins[place]), int(self._sizes[place]))
    fields = line.rstrip(b'\r\n').split(b'\t')
    if len(fields) != count:
      cut = int(self._numbers[-1]) == int(self._numbers[place])
      raise DamagedError(
        f'must have {count} columns ({self.kind}), got {len(fields)}'
        + ('; the last line is cut off, download the file again' if cut else '')
      )
    return [_unquoted(field) for field in fields]

  def _bytes(self, begin: int, size: int) -> bytes:
    if size > _LONGEST:
      raise DamagedError(
        f'must be a line of at most {_LONGEST} bytes, got {size}'
      )
    if self._descriptor is None:
      self._descriptor = os.open(self._file, os.O_RDONLY)
    return read_at(self._descriptor, size, begin)


def of_lines(
  path: Path, begins: np.ndarray
) -> Iterator[tuple[int, int, bytes]]:
  """Yields what `scan` does, of lines whose places are known."""
  size = os.stat(path).st_size
  ends = [*begins[1:].tolist(), size]
  descriptor = os.open(path, os.O_RDONLY)
  try:
    for begin, end in zip(begins.tolist(), ends):
      last = os.pread(descriptor, 1, end - 1)
      yield (
        begin,
        end - begin - (last == b'\n'),
        os.pread(descriptor, min(HEAD, end - begin), begin),
      )
  finally:
    os.close(descriptor)


def number_in(field: bytes, what: str) -> int:
  """Returns a whole number of text; raises DamagedError otherwise."""
  if not _DIGITS.fullmatch(field.strip()):
    raise DamagedError(f'{what} must be a whole number, got {shown(field)}')
  return int(field.strip().partition(b'.')[0])


def count_in(field: bytes, what: str = 'num_boxes') -> int:
  """Returns `number_in`, which must be at least 1."""
  count = number_in(field, what)
  if not count:
    raise DamagedError(f'{what} must be at least 1, got 0')
  return count


def numbers_in(
  field: bytes, what: str, dtype: str, rows: int, columns: int | None = None
) -> np.ndarray:
  """Returns an array from base64.

  Args:
    field: base64. Python 3 wrote some as b'...', which lenient decoders read as
      garbage without a word: they skip the quotes but not the b.
    what: name for messages.
    dtype: of the numbers, with its byte order.
    rows: of the array, at least 1.
    columns: of the array; None: as many as there are.
  Returns:
    An array of shape [rows, columns], read-only.
  Raises:
    DamagedError: if it is not base64, or of another length.
  """
  try:
    content = base64.b64decode(_unwrapped(field), validate=True)
  except (binascii.Error, ValueError) as error:
    text = ' '.join(str(error).split())
    raise DamagedError(
      f'{what} must be base64, got {shown(field, 20)} of {len(field)} bytes '
      f'({text})'
    ) from error
  unit = np.dtype(dtype).itemsize * rows
  found, rest = divmod(len(content), unit)
  if rest or not found or columns not in (None, found):
    wanted = 'a multiple of ' if columns is None else ''
    raise DamagedError(
      f'{what} must hold {wanted}{unit * (columns or 1)} bytes for {rows} '
      f'regions, got {len(content)}'
    )
  return np.frombuffer(content, dtype).reshape(rows, found)


def _unquoted(field: bytes) -> bytes:
  if len(field) > 1 and field[:1] == field[-1:] == b'"':
    return field[1:-1].replace(b'""', b'"')
  return field


def _unwrapped(field: bytes) -> bytes:
  field = field.strip()
  if field[:2] in (b"b'", b'b"') and field[-1:] == field[1:2]:
    return field[2:-1]
  return field
