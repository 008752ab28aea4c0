"""Records of a picture, its caption, and one or several foils.

SugarCrepe, SugarCrepe++ (two captions), BiVLC's text side, tables of NegCLIP
and CREPE (a Python list of foils), and whatever else has these three.
"""

from collections.abc import Mapping
from typing import Any

from tagsdc_jax.foil_files import fields, loading, records

_SECOND = ('caption2', 'caption_2', 'second_caption')
_CORNER = ('x', 'y', 'width', 'height')


def looks(content: loading.Content) -> bool:
  """Returns whether the first record has a picture, a caption and a foil."""
  return all(
    fields.key_of(content.first, names)
    for names in (fields.PICTURES, fields.CAPTIONS, fields.FOILS)
  )


def read(content: loading.Content) -> records.FoilFile:
  """Returns the items; the kind is `type_subtype`, or the file's name.

  Raises:
    UserError: if a record is malformed.
  """
  collector = records.Collector(content.path, _family(content.first))
  stem = fields.stem(content.path)
  for place, record in content.records:
    where = content.where(place)
    record = fields.mapping(record, where)
    captions = [
      fields.text(record, key, where)
      for key in (
        fields.required(record, fields.CAPTIONS, 'a caption', where),
        fields.key_of(record, _SECOND),
      )
      if key
    ]
    foils = fields.texts(
      record, fields.required(record, fields.FOILS, 'a foil', where), where
    )
    if not all(captions) or not foils:
      collector.leave_out('no_text')
      continue
    collector.add(
      records.Item(
        fields.item_id(place),
        _kind(record, where) or stem,
        tuple(captions),
        foils,
        fields.names(record, where),
        _box(record, where),
      )
    )
  _remark_gaps(content, collector)
  return collector.file()


def _family(record: Mapping[str, Any]) -> str:
  if fields.key_of(record, _SECOND):
    return 'SugarCrepe++'
  if fields.key_of(record, ('hard_negs',)):
    return 'CREPE'
  if fields.key_of(record, ('neg_caption',)):
    return 'NegCLIP table'
  if fields.key_of(record, ('negative_caption',)):
    is_typed = fields.key_of(record, ('subtype',))
    return 'BiVLC' if is_typed else 'SugarCrepe'
  return 'captions with foils'


def _kind(record: Mapping[str, Any], where: str) -> str:
  keys = [fields.key_of(record, (name,)) for name in ('type', 'subtype')]
  parts = [fields.text(record, key, where) for key in keys if key]
  return '_'.join(part for part in parts if part)


def _box(record: Mapping[str, Any], where: str) -> records.Box | None:
  """Returns CREPE's box, of which width and height are the size."""
  if not all(name in record for name in _CORNER):
    return None
  return fields.box([record[name] for name in _CORNER], {}, where, 'x, y')


def _remark_gaps(
  content: loading.Content, collector: records.Collector
) -> None:
  """Says which number is missing among keys that are numbers from 0."""
  if not isinstance(content.whole, Mapping):
    return
  keys = [str(key) for key in content.whole]
  if not all(key.isdecimal() for key in keys):
    return
  numbers = {int(key) for key in keys}
  if len(numbers) == len(keys) and max(numbers) < 2 * len(keys):
    missing = sorted(set(range(max(numbers))) - numbers)
    if missing:
      shown = ', '.join(map(str, missing[:5]))
      more = ', ...' if len(missing) > 5 else ''
      collector.remark(
        f'keys run from {min(numbers)} to {max(numbers)}, without {shown}{more}'
      )
