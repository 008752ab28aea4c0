"""ARO: a true and a false caption of a part of a Visual Genome picture."""

import collections
from collections.abc import Mapping
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.foil_files import fields, loading, records

FAMILY = 'ARO'
_BOX = ('bbox_x', 'bbox_y', 'bbox_w', 'bbox_h')
# Pairs of attributes with fewer items are no part of the published mean.
_LEAST = 25


def looks(content: loading.Content) -> bool:
  """Returns whether the first record has a true and a false caption."""
  return bool(
    fields.key_of(content.first, ('true_caption',))
    and fields.key_of(content.first, ('false_caption',))
  )


def read(content: loading.Content) -> records.FoilFile:
  """Returns the items; the kind is the file's name.

  The detail is the relation, or the pair of attributes: the published number is
  the mean over them.

  Raises:
    UserError: if a record is malformed.
  """
  collector = records.Collector(content.path, FAMILY)
  pairs = collections.Counter(
    _attributes(record) for _, record in content.records
  )
  for place, record in content.records:
    where = content.where(place)
    record = fields.mapping(record, where)
    caption, foil = (
      fields.text(record, key, where)
      for key in ('true_caption', 'false_caption')
    )
    if not caption or not foil:
      collector.leave_out('no_text')
      continue
    pair = _attributes(record)
    detail = record.get('relation_name') or (
      pair if pairs[pair] >= _LEAST else ''
    )
    if not isinstance(detail, str):
      raise errors.UserError(
        f'{where}: relation_name must be a string, got {str(detail)[:40]!r}'
      )
    collector.add(
      records.Item(
        fields.item_id(place),
        fields.stem(content.path),
        (caption,),
        (foil,),
        tuple(map(_of_genome, fields.names(record, where))),
        _box(record, where),
        detail=detail,
      )
    )
  return collector.file()


def _of_genome(name: str) -> str:
  """Returns a name that says that its number is Visual Genome's."""
  stem = fields.stem(name)
  return f'VG_100K/{stem}.jpg' if stem.isdecimal() else name


def _box(record: Mapping[str, Any], where: str) -> records.Box | None:
  if all(name in record for name in _BOX):
    return fields.box([record[name] for name in _BOX], record, where, 'bbox_x')
  return fields.box(record['bbox'], record, where) if 'bbox' in record else None


def _attributes(record: object) -> str:
  found = record.get('attributes') if isinstance(record, dict) else None
  return '_'.join(map(str, found)) if isinstance(found, list) else ''
