"""Captions as tables: CSV, JSON lines, Flickr8k's token file, precomp."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

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
  text = read_text(path)
  first = text.split('\n', 1)[0]
  if not text.strip():
    raise errors.UserError(f'{path} is empty; copy or download it again')
  delimiter = max(_DELIMITERS, key=first.count)
  rows = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
  csv.field_size_limit(2**31 - 1)
  header = [name.strip().lower() for name in next(rows, [])]
  image = next((n for n in _IMAGE_COLUMNS if n in header), None)
  captions = [
    place
    for place, name in enumerate(header)
    if re.sub(r'[ _-]?\d+$', '', name) in _CAPTION_COLUMNS
  ]
  if image is None or not captions:
    raise errors.UserError(
      f'{path}: the first line must name the columns, one of '
      f'{", ".join(_IMAGE_COLUMNS)} and one of {", ".join(_CAPTION_COLUMNS)}, '
      f'got {first.strip()[:80]!r}'
    )
  column = {name: place for place, name in enumerate(header)}
  collector = listing.Collector(str(path), 'CSV')
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
      name = row[column[image]].strip()
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
      ids: list[str | None] = [None] * len(captions)
      if 'caption_id' in column and len(captions) == 1:
        ids = [row[column['caption_id']]]
      for place, caption_id in zip(captions, ids, strict=True):
        collector.add_text(picture, row[place].strip(), caption_id)
  except csv.Error as error:
    raise errors.UserError(
      f'{path}: line {rows.line_num} is no row of a table ({error})'
    ) from error
  return collector.listing()


def read_json_lines(path: Path) -> listing.Listing:
  """Returns the pictures of a file with a JSON object per line.

  Args and errors: see `read_csv`.
  """
  entries, lines = [], []
  for number, line in _lines(path):
    try:
      entries.append(json.loads(line))
    except (json.JSONDecodeError, RecursionError) as error:
      raise errors.UserError(
        f'{path}: line {number} must be a JSON object, got {line[:40]!r} '
        f'({error})'
      ) from error
    lines.append(number)
  return json_files.read_entries(
    str(path), 'JSON lines', entries, lambda i: f'line {lines[i]}'
  )


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
