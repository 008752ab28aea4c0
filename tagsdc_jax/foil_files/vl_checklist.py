"""VL-CheckList: lists of a picture's path and an object of POS and NEG."""

from collections.abc import Mapping

from tagsdc_jax import errors
from tagsdc_jax.foil_files import fields, loading, records

FAMILY = 'VL-CheckList'


def looks(content: loading.Content) -> bool:
  """Returns whether the first record is [path, {"POS": .., "NEG": ..}]."""
  first = content.first
  return (
    isinstance(first, list)
    and len(first) == 2
    and isinstance(first[1], Mapping)
    and {'POS', 'NEG'} <= set(first[1])
  )


def read(content: loading.Content) -> records.FoilFile:
  """Returns the items; the kind is the file's name.

  Raises:
    UserError: if a record is malformed.
  """
  collector = records.Collector(content.path, FAMILY)
  for place, record in content.records:
    where = content.where(place)
    if not isinstance(record, list) or len(record) != 2:
      raise errors.UserError(
        f'{where}: expected [picture, {{"POS": .., "NEG": ..}}], got '
        f'{loading.describe(record)}'
      )
    sides = fields.mapping(record[1], where)
    captions, foils = (
      fields.texts(sides, side, where) for side in ('POS', 'NEG')
    )
    if not captions or not foils:
      collector.leave_out('no_text')
      continue
    name = fields.picture(record[0], 'the picture', where)
    collector.add(
      records.Item(
        fields.item_id(place),
        fields.stem(content.path),
        captions,
        foils,
        (name,) if name else (),
      )
    )
  return collector.file()
