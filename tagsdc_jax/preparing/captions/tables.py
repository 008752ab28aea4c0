"""Captions as tables: CSV, JSON lines, Flickr8k's token file, precomp."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tagsdc_jax import errors, files
from tagsdc_jax.preparing import listing
from tagsdc_jax.preparing.captions import json_files

_IMAGE_COLUMNS = (
  'image',
  'photo',
  'picture',
  'file',
  'filename',
  'file_name',
  'filepath',
  'image_path',
  'image_name',
  'img',
  'path',
)
_CAPTION_COLUMNS = (
  'caption',
  'text',
  'title',
  'sentence',
  'raw',
  'comment',
  'description',
)
_DELIMITERS = ',\t|;'
_TOKEN_LINE = re.compile(r'(?P<name>.+\.\w+)#(?P<number>\w+)\t(?P<text>.*)')


def read_text(path: Path) -> str:
  """Returns the text of a UTF-8 file.

  Raises:
    UserError: if it cannot be read or has another encoding.
  """
  with errors.named(path, 'read', 'file'):
    files.check_no_pointer(path)
    content = path.read_bytes()
  try:
    return content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise errors.UserError(
      f'{path}: expected UTF-8 text, got byte {content[error.start]:#x} at '
      f'{error.start}; save it as UTF-8'
    ) from error


def read_csv(path: Path) -> listing.Listing:
  """Returns the pictures of a table with a header line.

  Columns are found by name: the picture's file, one or several captions
  (`caption`, or `caption_0`, `caption 1`, ...), and perhaps `split` and
  `caption_id`. Fields are separated by commas, tabs, semicolons or bars.

  Args:
    path: the file.
  Raises:
    UserError: if a column is missing or a row is malformed.
  """
  table = _open_table(path)
  column = {name: place for place, name in enumerate(table.header)}
  collector = listing.Collector(str(path), 'CSV')
  for where, row in table.rows:
    name = row[table.image].strip()
    if not name:
      raise errors.UserError(f'{where}: the picture must be named, got none')
    own = row[column['split']] if 'split' in column else None
    picture = listing.Picture(
      image_id=name,
      split=listing.split_of(own, where),
      sentences=(),
      names=listing.names_of(
        name, row[column['image_id']] if 'image_id' in column else None
      ),
    )
    collector.add(picture)
    ids: list[str | None] = [None] * len(table.captions)
    if 'caption_id' in column and len(table.captions) == 1:
      ids = [row[column['caption_id']]]
    for place, caption_id in zip(table.captions, ids, strict=True):
      collector.add_text(picture, row[place].strip(), caption_id)
  return collector.listing()


def read_pairs(path: Path) -> list[tuple[str, str]]:
  """Returns picture and caption of every row of CSV or line of JSON.

  Args:
    path: a table as for `read_csv`, of which one column of captions is read, or
      a JSON object per line, with texts under the names of such columns.
  Raises:
    UserError: if a column is missing or a row is malformed.
  """
  if next((line for _, line in _lines(path)), '').lstrip().startswith('{'):
    return [_pair(where, entry) for where, entry in _objects(path)]
  table = _open_table(path)
  named = [name for name in _CAPTION_COLUMNS if name in table.header]
  if named:
    caption = table.header.index(named[0])
  elif len(table.captions) == 1:
    [caption] = table.captions
  else:
    raise errors.UserError(
      f'{path}: expected one column of captions, got '
      f'{", ".join(table.header[place] for place in table.captions)}; write '
      'a row for each caption'
    )
  return [(row[table.image].strip(), row[caption]) for _, row in table.rows]


def _pair(where: str, entry: Any) -> tuple[str, str]:
  found = []
  for names in (_IMAGE_COLUMNS, _CAPTION_COLUMNS):
    given = entry if isinstance(entry, dict) else {}
    name = next((name for name in names if name in given), '')
    value = given.get(name)
    if name and type(value) is int and names is _IMAGE_COLUMNS:
      value = str(value)
    if not isinstance(value, str):
      raise errors.UserError(
        f'{where}: expected an object with a text under one of '
        f'{", ".join(names)}, got {json.dumps(entry)[:80]}'
      )
    found.append(value)
  return found[0], found[1]


class _Table(NamedTuple):
  """A table of captions."""

  header: list[str]  # In lower case.
  image: int  # Column of the picture.
  captions: list[int]  # Columns of captions.
  rows: Iterator[tuple[str, list[str]]]  # Where, for messages, and the fields.


def _open_table(path: Path) -> _Table:
  """Returns the columns and rows of a CSV file; see `read_csv`."""
  text = read_text(path)
  first = text.split('\n', 1)[0]
  if not text.strip():
    raise errors.UserError(f'{path} is empty; copy or download it again')
  delimiter = max(_DELIMITERS, key=first.count)
  rows = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
  csv.field_size_limit(2**31 - 1)
  header = [name.strip().lower() for name in next(rows, [])]
  images = [n for n in _IMAGE_COLUMNS if n in header]
  captions = [
    place
    for place, name in enumerate(header)
    if re.sub(r'[ _-]?\d+$', '', name) in _CAPTION_COLUMNS
  ]
  if not images or not captions:
    raise errors.UserError(
      f'{path}: the first line must name the columns, one of '
      f'{", ".join(_IMAGE_COLUMNS)} and one of {", ".join(_CAPTION_COLUMNS)}, '
      f'got {first.strip()[:80]!r}'
    )

  def checked() -> Iterator[tuple[str, list[str]]]:
    try:
      for row in rows:
        if not row:
          continue
        where = f'{path}: line {rows.line_num}'
        if len(row) != len(header):
          raise errors.UserError(
            f'{where}: expected {len(header)} fields as in the first line, got '
            f'{len(row)}; fields that contain {delimiter!r} need quotes'
          )
        yield where, row
    except csv.Error as error:
      raise errors.UserError(
        f'{path}: line {rows.line_num} is no row of a table ({error})'
      ) from error

  return _Table(header, header.index(images[0]), captions, checked())


def read_json_lines(path: Path) -> listing.Listing:
  """Returns the pictures of a file with a JSON object per line.

  Args and errors: see `read_csv`.
  """
  entries = list(_objects(path))
  return json_files.read_entries(
    str(path),
    'JSON lines',
    [entry for _, entry in entries],
    lambda i: entries[i][0].removeprefix(f'{path}: '),
  )


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
  """Yields the JSON of every line, with where it is, for messages."""
  for number, line in _lines(path):
    where = f'{path}: line {number}'
    try:
      yield where, json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
      raise errors.UserError(
        f'{where} must be a JSON object, got {line[:40]!r} ({error})'
      ) from error


def read_tokens(path: Path) -> listing.Listing:
  """Returns the pictures of Flickr8k.token.txt: `name.jpg#0<tab>caption`.

  Args and errors: see `read_csv`.
  """
  collector = listing.Collector(str(path), 'Flickr8k.token')
  for number, line in _lines(path):
    match = _TOKEN_LINE.fullmatch(line)
    if match is None:
      raise errors.UserError(
        f'{path}: line {number} must be NAME.jpg#NUMBER, a tab and a caption, '
        f'got {line[:60]!r}'
      )
    name = match['name']
    collector.add_text(
      listing.Picture(name, '', (), listing.names_of(name)),
      match['text'].strip(),
      f'{name}#{match["number"]}',
    )
  return collector.listing()


def is_tokens(path: Path) -> bool:
  """Returns whether the first line of a file is like Flickr8k.token.txt's."""
  return next(
    (bool(_TOKEN_LINE.fullmatch(line)) for _, line in _lines(path)), False
  )


def read_precomp(folder: Path) -> listing.Listing:
  """Returns the pictures of a SCAN or VSE-inf folder.

  `{split}_caps.txt` has a caption per line, `{split}_ids.txt` the id of each
  caption's or each picture's image, as the number of lines tells.

  Raises:
    UserError: if numbers of lines do not fit.
  """
  collector = listing.Collector(str(folder), 'precomp folder')
  for name in ('train', 'dev', 'test'):
    path = folder / f'{name}_caps.txt'
    if not path.is_file():
      continue
    captions = [line for _, line in _lines(path)]
    ids = _precomp_ids(folder, name, len(captions))
    split = listing.SPLIT_NAMES[name]
    for image, text in zip(ids, captions, strict=True):
      collector.add_text(
        listing.Picture(image, split, (), listing.names_of(image)), text
      )
  return collector.listing()


def _precomp_ids(folder: Path, split: str, num_captions: int) -> list[str]:
  """Returns the name of each caption's image."""
  path = folder / f'{split}_ids.txt'
  if not path.is_file():  # Five captions per image, in order.
    return [f'{split}-{number // 5}' for number in range(num_captions)]
  ids = [line.strip() for _, line in _lines(path)]
  if len(ids) == num_captions:
    return ids
  if ids and num_captions % len(ids) == 0:
    each = num_captions // len(ids)
    return [image for image in ids for _ in range(each)]
  raise errors.UserError(
    f'{path}: expected an id per caption ({num_captions}) or per image, got '
    f'{len(ids)}'
  )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
  """Yields the lines that are not empty, with their numbers from 1."""
  for number, line in enumerate(read_text(path).split('\n'), 1):
    if line.strip():
      yield number, line.rstrip('\r')
