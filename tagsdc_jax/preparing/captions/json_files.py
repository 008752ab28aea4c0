"""Captions in JSON: Karpathy's splits, COCO's annotations, LAVIS's lists."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files
from tagsdc_jax.preparing import listing

_KEYS = ('image', 'filename', 'file_name', 'img', 'image_path', 'filepath')


def read(path: Path) -> listing.Listing:
  """Returns the pictures of a JSON file, whose format is found by looking.

  Args:
    path: the file.
  Raises:
    UserError: if it is no JSON, of another shape, or a record is malformed.
  """
  content = _load(path)
  if isinstance(content, Mapping):
    images = content.get('images')
    if isinstance(images, list) and images and _has(images[0], 'sentences'):
      return _read_karpathy(path, content)
    if isinstance(images, list) and isinstance(
      content.get('annotations'), list
    ):
      return _read_coco(path, content)
  elif isinstance(content, list) and content and _has(content[0], 'caption'):
    return read_entries(str(path), 'LAVIS JSON', content)
  raise errors.UserError(
    f"{path}: expected Karpathy's JSON (images with sentences), COCO's (images "
    "and annotations) or LAVIS's (a list of image and caption), got "
    f'{_describe(content)}'
  )


def _load(path: Path) -> Any:
  with errors.named(path, 'read', 'file'):
    files.check_no_pointer(path)
    content = path.read_bytes()
  try:
    return json.loads(content.decode('utf-8-sig'))
  except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
    if not content.strip():
      raise errors.UserError(
        f'{path} is empty; copy or download it again'
      ) from error
    text = files.kind_of_text(path) or ''
    if not text.startswith(('a web page', 'a Git')):
      text = f'{error}; if the file is cut off, copy or download it again'
    raise errors.UserError(f'{path}: expected JSON, got {text}') from error


def _describe(content: Any) -> str:
  if isinstance(content, Mapping):
    return (
      f'an object with {", ".join(list(map(str, content))[:6]) or "nothing"}'
    )
  if isinstance(content, list):
    first = f' of {_describe(content[0])}' if content else ''
    return f'a list{first}'
  return type(content).__name__


def _has(entry: Any, key: str) -> bool:
  return isinstance(entry, Mapping) and key in entry


def _read_karpathy(path: Path, content: Mapping[str, Any]) -> listing.Listing:
  collector = listing.Collector(str(path), "Karpathy's JSON")
  for number, entry in enumerate(content['images']):
    where = f'{path}: images[{number}]'
    name = field(entry, 'filename', str, where)
    where = f'{where} ({name})'
    sentences = field(entry, 'sentences', list, where)
    collector.add(
      listing.Picture(
        image_id=name,
        split=listing.split_of(entry.get('split'), where),
        sentences=tuple(
          listing.Sentence(
            str(sentence.get('sentid', f'{name}#{place}')),
            _text(sentence, where),
          )
          for place, sentence in enumerate(sentences)
        ),
        names=listing.names_of(name, entry.get('cocoid'), entry.get('imgid')),
        **_size(entry, where),
      )
    )
  return collector.listing(str(content.get('dataset', '')))


def _text(sentence: Any, where: str) -> str:
  if _has(sentence, 'raw'):
    return field(sentence, 'raw', str, where)
  return ' '.join(map(str, field(sentence, 'tokens', list, where)))


def _read_coco(path: Path, content: Mapping[str, Any]) -> listing.Listing:
  collector = listing.Collector(str(path), 'COCO JSON')
  pictures: dict[int, listing.Picture] = {}
  for number, entry in enumerate(content['images']):
    where = f'{path}: images[{number}]'
    name, key = field(entry, 'file_name', str, where), entry.get('id')
    if type(key) is not int or key in pictures:
      raise errors.UserError(
        f'{where} ({name}): id must be a whole number of its own, got {key!r}'
      )
    pictures[key] = listing.Picture(
      image_id=name,
      split='',
      sentences=(),
      names=listing.names_of(name, key),
      **_size(entry, where),
    )
    collector.add(pictures[key])
  for number, entry in enumerate(content['annotations']):
    where = f'{path}: annotations[{number}]'
    key = field(entry, 'image_id', int, where)
    text = field(entry, 'caption', str, where)
    if key not in pictures:
      raise errors.UserError(
        f'{where}: image_id {key} is not among the images of the file'
      )
    caption_id = entry.get('id')
    collector.add_text(
      pictures[key], text, None if caption_id is None else str(caption_id)
    )
  return collector.listing()


def read_entries(
  path: str,
  kind: str,
  entries: Sequence[Any],
  place_of: Callable[[int], str] = '[{}]'.format,
) -> listing.Listing:
  """Returns the pictures of a list of objects with image and caption.

  Args:
    path: of the file, for messages.
    kind: name of the format.
    entries: objects; `caption` is a string, or a list of them.
    place_of: names an entry by its number, for messages.
  Raises:
    UserError: if an entry is malformed.
  """
  collector = listing.Collector(path, kind)
  for number, entry in enumerate(entries):
    where = f'{path}: {place_of(number)}'
    if not isinstance(entry, Mapping):
      raise errors.UserError(
        f'{where}: expected an object with image and caption, got '
        f'{_describe(entry)}'
      )
    key = next((key for key in _KEYS if key in entry), None)
    if key is None:
      raise errors.UserError(
        f'{where}: expected the picture under one of {", ".join(_KEYS)}, got '
        f'{", ".join(map(str, entry))}'
      )
    image = field(entry, key, str, where)
    captions = entry.get('caption', entry.get('captions', entry.get('text')))
    if isinstance(captions, str):
      captions = [captions]
    if not isinstance(captions, list) or not all(
      isinstance(text, str) for text in captions
    ):
      raise errors.UserError(
        f'{where} ({image}): caption must be a string or a list of them, got '
        f'{str(captions)[:40]!r}'
      )
    picture = listing.Picture(
      image_id=image,
      split=listing.split_of(entry.get('split'), where),
      sentences=(),
      names=listing.names_of(image, entry.get('image_id')),
      **_size(entry, where),
    )
    collector.add(picture)
    caption_id = entry.get('caption_id')
    for text in captions:
      collector.add_text(
        picture,
        text,
        str(caption_id)
        if caption_id is not None and len(captions) == 1
        else None,
      )
  return collector.listing()


def field(entry: Any, key: str, kind: type, where: str) -> Any:
  """Returns a field of a record; raises UserError if it is not of a type."""
  value = entry.get(key) if isinstance(entry, Mapping) else None
  if type(value) is not kind or value == '':
    names = {str: 'a string', int: 'a whole number', list: 'a list'}
    raise errors.UserError(
      f'{where}: {key} must be {names[kind]}, got {str(value)[:40]!r}'
    )
  return value


def _size(entry: Mapping[str, Any], where: str) -> dict[str, int]:
  """Returns width and height, if the record has both."""
  size = {key: entry.get(key, 0) for key in ('width', 'height')}
  for key, value in size.items():
    if type(value) is not int or value < 0:
      raise errors.UserError(
        f'{where}: {key} must be a whole number of pixels, got {value!r}'
      )
  return size if all(size.values()) else {'width': 0, 'height': 0}
