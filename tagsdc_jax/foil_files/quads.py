"""Two captions and two pictures: Winoground, ColorSwap, COLA."""

from collections.abc import Mapping, Sequence
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.foil_files import fields, loading, records

# Captions and pictures as the files number them: (0, 1) or (1, 2).
_NUMBERS = ((0, 1), (1, 2))
_PICTURES = ('image_{}', 'image{}', 'img_{}', 'filename_{}', 'image_path_{}')
_CAPTIONS = ('caption_{}', 'caption{}', 'text_{}')
_LOGS = ('log_1', 'log_2')


def looks(content: loading.Content) -> bool:
  """Returns whether the first record has two captions and two pictures."""
  first = content.first
  if isinstance(first, list):
    return len(first) == 4 and all(isinstance(one, str) for one in first)
  return bool(_is_answers(first) or _keys(first))


def read(content: loading.Content) -> records.FoilFile:
  """Returns the items; the kind is Winoground's tag, or the file's name.

  The foil of an item is the other picture's caption.

  Raises:
    UserError: if a record is malformed.
  """
  first = content.first
  collector = records.Collector(content.path, _family(first))
  stem = fields.stem(content.path)
  for place, record in content.records:
    where = content.where(place)
    pictures, captions, kind = _parts(record, where)
    if not all(captions) or not all(pictures):
      collector.leave_out('no_text')
      continue
    collector.add(
      records.Item(
        fields.item_id(place),
        kind or stem,
        captions[:1],
        captions[1:],
        pictures[:1],
        other_names=pictures[1:],
      )
    )
  return collector.file()


def _family(first: Any) -> str:
  if isinstance(first, list):
    return 'COLA'
  if _is_answers(first) or fields.key_of(first, ('caption_source',)):
    return 'ColorSwap'
  is_tagged = fields.key_of(first, ('collapsed_tag', 'secondary_tag'))
  return 'Winoground' if is_tagged else 'two captions and two pictures'


def _parts(
  record: Any, where: str
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
  """Returns two pictures, their captions, and the kind, which may be empty."""
  if isinstance(record, list):
    if len(record) != 4:
      raise errors.UserError(
        f'{where}: expected [picture, caption, picture, caption], got a list '
        f'of {len(record)}'
      )
    named = dict(zip(('picture', 'caption', 'picture 2', 'caption 2'), record))
    return (
      tuple(fields.picture(named[k], k, where) for k in list(named)[::2]),
      tuple(fields.text(named, k, where) for k in list(named)[1::2]),
      '',
    )
  record = fields.mapping(record, where)
  if _is_answers(record):
    answers = [_answer(record[log], f'{where}: {log}') for log in _LOGS]
    return tuple(a for a, _ in answers), tuple(b for _, b in answers), ''
  keys = _keys(record)
  if keys is None:
    raise errors.UserError(
      f'{where}: expected two captions and two pictures, caption_0, caption_1, '
      f'image_0 and image_1, got {fields.describe_keys(record)}'
    )
  pictures, captions = keys
  tag = fields.key_of(record, ('collapsed_tag',))
  return (
    tuple(fields.picture(record[key], key, where) for key in pictures),
    tuple(fields.text(record, key, where) for key in captions),
    fields.text(record, tag, where) if tag else '',
  )


def _keys(record: Any) -> tuple[Sequence[str], Sequence[str]] | None:
  """Returns the keys of the pictures and of the captions."""
  for numbers in _NUMBERS:
    found = [
      next(
        (
          keys
          for name in names
          if all(
            keys := [
              fields.key_of(record, (name.format(number),)) or ''
              for number in numbers
            ]
          )
        ),
        None,
      )
      for names in (_PICTURES, _CAPTIONS)
    ]
    if found[0] and found[1]:
      return found[0], found[1]
  return None


def _is_answers(record: Any) -> bool:
  """Returns whether a record is another model's answer about ColorSwap."""
  return isinstance(record, Mapping) and all(
    isinstance(record.get(log), Mapping)
    and {'image_url', 'caption_1', 'caption_2', 'correct_answer'}
    <= set(record[log])
    for log in _LOGS
  )


def _answer(log: Mapping[str, Any], where: str) -> tuple[str, str]:
  """Returns a picture and its caption: A is the first, B the second."""
  fields.mapping(log, where)
  right = log.get('correct_answer')
  if right not in ('A', 'B'):
    raise errors.UserError(
      f'{where}: correct_answer must be A or B, got {str(right)[:20]!r}'
    )
  return (
    fields.picture(log.get('image_url'), 'image_url', where),
    fields.text(log, 'caption_1' if right == 'A' else 'caption_2', where),
  )
