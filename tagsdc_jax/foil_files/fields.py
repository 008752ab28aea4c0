"""Fields of records, under the names that published files use."""

import ast
import math
import os
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib import parse

from tagsdc_jax import errors
from tagsdc_jax.foil_files import records

PICTURES = (
  'filename',
  'file_name',
  'image_file',
  'img_path',
  'image_path',
  'filepath',
  'file_path',
  'image',
  'img',
  'image_name',
  'image_filename',
  'image_url',
  'url',
  'image_id',
  'coco_id',
  'cocoid',
)
CAPTIONS = (
  'caption',
  'true_caption',
  'positive_caption',
  'pos_caption',
  'correct_caption',
  'original_caption',
  'caption1',
  'caption_1',
  'title',
  'sentence',
  'text',
)
FOILS = (
  'negative_caption',
  'false_caption',
  'neg_caption',
  'foil',
  'hard_negative',
  'wrong_caption',
  'negative_captions',
  'neg_captions',
  'hard_negs',
  'hard_negatives',
  'negatives',
  'foils',
  'negative',
)
# Characters of a Python list in a cell, and sentences in it.
_MOST_CHARACTERS, _MOST_FOILS = 100_000, 1000
# How a list begins, as Python or JSON writes it; sentences may have brackets.
_LIST = re.compile(r'\s*[\[(]\s*(["\'\])]|[uU]["\'])')


def key_of(record: Any, names: Collection[str]) -> str | None:
  """Returns the first of the names that a record has; case is ignored."""
  if not isinstance(record, Mapping):
    return None
  known = {str(key).strip().lower(): key for key in record}
  return next((known[name] for name in names if name in known), None)


def text(record: Mapping[str, Any], key: str, where: str) -> str:
  """Returns a sentence without spaces around it; empty if it is missing.

  Missing are also None, NaN and texts of spaces only.

  Raises:
    UserError: if it is something else.
  """
  return _sentence(record.get(key), key, where)


def texts(record: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
  """Returns the sentences of a list, of a Python list in a cell, or the one.

  Those that are missing are left out; see `text`.

  Raises:
    UserError: if it is something else.
  """
  value = record.get(key)
  if isinstance(value, str) and _LIST.match(value):
    value = _list_literal(value.strip(), key, where)
  if not isinstance(value, list | tuple):
    value = [value]
  found = (_sentence(one, key, where) for one in value)
  return tuple(sentence for sentence in found if sentence)


def _sentence(value: Any, key: str, where: str) -> str:
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ''
  if not isinstance(value, str):
    raise errors.UserError(
      f'{where}: {key} must be a string, got {str(value)[:60]!r} '
      f'({type(value).__name__})'
    )
  if any('\ud800' <= character <= '\udfff' for character in value):
    raise errors.UserError(
      f'{where}: {key} contains half a character, in {ascii(value)[:60]}'
    )
  return value.strip()


def _list_literal(value: str, key: str, where: str) -> Sequence[Any]:
  """Returns the list that a cell spells as Python does, without running it."""
  wrong = errors.UserError(
    f'{where}: {key} must be a list of sentences as Python writes it, of at '
    f'most {_MOST_CHARACTERS:,} characters and {_MOST_FOILS:,} sentences, got '
    f'{value[:60]!r}'
  )
  if len(value) > _MOST_CHARACTERS:
    raise wrong
  try:
    with warnings.catch_warnings():  # About backslashes in sentences.
      warnings.simplefilter('ignore')
      found = ast.literal_eval(value)
  except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
    raise wrong from error
  if isinstance(found, str):  # ("one")
    return [found]
  if not isinstance(found, list | tuple) or len(found) > _MOST_FOILS:
    raise wrong
  return found


def names(record: Mapping[str, Any], where: str) -> tuple[str, ...]:
  """Returns what the picture of a record may be called, the likeliest first.

  Raises:
    UserError: if the record has no picture, or names it by something else.
  """
  found: list[str] = []
  for name in PICTURES:
    key = key_of(record, (name,))
    if key is not None:
      one = picture(record[key], key, where)
      found += [one] if one else []
  if not found:
    raise errors.UserError(
      f'{where}: expected the name of a picture under one of '
      f'{", ".join(PICTURES[:8])}, got {describe_keys(record)}'
    )
  return tuple(dict.fromkeys(found))


def picture(value: Any, key: str, where: str) -> str:
  """Returns the name of a picture; empty if it is missing.

  Raises:
    UserError: if it is neither a name nor a number.
  """
  if isinstance(value, Mapping):  # As Hugging Face writes pictures.
    value = value.get('path', value.get('src'))
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ''
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  if isinstance(value, bool) or not isinstance(value, str | int):
    raise errors.UserError(
      f'{where}: {key} must be the name of a picture, got {str(value)[:60]!r} '
      f'({type(value).__name__})'
    )
  name = str(value).strip()
  if '://' in name:
    name = parse.unquote(parse.urlsplit(name).path).lstrip('/')
  return name.replace('\\', '/').rstrip('/')


def number(value: Any, key: str, where: str) -> float:
  """Returns a finite number, which may be spelled as text.

  Raises:
    UserError: if it is none.
  """
  try:
    found = math.nan if isinstance(value, bool) else float(value)
  except (TypeError, ValueError, OverflowError):
    found = math.nan
  if not math.isfinite(found):
    raise errors.UserError(
      f'{where}: {key} must be a number, got {str(value)[:40]!r}'
    )
  return found


def box(
  values: Any, record: Mapping[str, Any], where: str, key: str = 'bbox'
) -> records.Box:
  """Returns a box.

  Args:
    values: x, y, width and height in pixels; perhaps a list spelled as text.
    record: with the picture's `width` and `height`, if it has them.
    where: file and record, for messages.
    key: its name, for messages.
  Raises:
    UserError: if it is no box.
  """
  if isinstance(values, str):
    values = re.split(r'[\s,;]+', values.strip(' []()'))
  if not isinstance(values, list | tuple) or len(values) != 4:
    raise errors.UserError(
      f'{where}: {key} must be x, y, width and height, got {str(values)[:60]!r}'
    )
  x, y, width, height = (number(value, key, where) for value in values)
  size = [record.get(name) for name in ('width', 'height')]
  if any(value in (None, '') for value in size):
    return records.Box(x, y, width, height)
  across, down = (
    number(value, name, where)
    for value, name in zip(size, ('width', 'height'), strict=True)
  )
  return records.Box(x, y, width, height, max(across, 0), max(down, 0))


def describe_keys(record: Any) -> str:
  """Returns the keys of a record, or what it is instead."""
  if not isinstance(record, Mapping):
    return f'{str(record)[:40]!r} ({type(record).__name__})'
  return ', '.join(map(str, record))[:120] or 'nothing'


def mapping(record: Any, where: str) -> Mapping[str, Any]:
  """Returns a record that must be an object; raises UserError otherwise."""
  if not isinstance(record, Mapping):
    raise errors.UserError(
      f'{where}: expected an object, got {describe_keys(record)}'
    )
  return record


def stem(path: os.PathLike | str) -> str:
  """Returns the name of a file without folder and suffix."""
  return os.path.splitext(os.path.basename(path))[0]


def item_id(place: str) -> str:
  """Returns the id of an item from its place in the file."""
  return place.removeprefix('record ').strip("'")


def required(
  record: Mapping[str, Any], names: Sequence[str], what: str, where: str
) -> str:
  """Returns the first of the names that a record has.

  Raises:
    UserError: if it has none.
  """
  key = key_of(record, names)
  if key is None:
    raise errors.UserError(
      f'{where}: expected {what} under {" or ".join(names[:3])}, got '
      f'{describe_keys(record)}'
    )
  return key
