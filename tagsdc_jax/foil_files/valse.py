"""VALSE: a caption, a foil, and how many annotators found the pair valid."""

from tagsdc_jax.foil_files import fields, loading, records

FAMILY = 'VALSE'
# Of three annotators, those who must prefer the caption.
_VOTES = 2


def looks(content: loading.Content) -> bool:
  """Returns whether the first record has a caption, a foil, and votes."""
  first = content.first
  return bool(
    fields.key_of(first, ('foil', 'foils'))
    and fields.key_of(first, ('caption',))
    and fields.key_of(first, ('mturk', 'linguistic_phenomena'))
  )


def read(content: loading.Content) -> records.FoilFile:
  """Returns the valid items; the kind is the linguistic phenomenon.

  Raises:
    UserError: if a record is malformed.
  """
  collector = records.Collector(content.path, FAMILY)
  unvoted = 0
  for place, record in content.records:
    where = content.where(place)
    record = fields.mapping(record, where)
    votes = record.get('mturk')
    if votes is None:
      unvoted += 1
    else:
      votes = fields.mapping(votes, f'{where}: mturk')
      number = votes.get('caption', 0)
      if fields.number(number, 'mturk.caption', where) < _VOTES:
        collector.leave_out('invalid')
        continue
    caption = fields.text(record, 'caption', where)
    foils = fields.texts(
      record, fields.required(record, ('foil', 'foils'), 'a foil', where), where
    )
    if not caption or not foils:
      collector.leave_out('no_text')
      continue
    collector.add(
      records.Item(
        fields.item_id(place),
        fields.text(record, 'linguistic_phenomena', where)
        or fields.stem(content.path),
        (caption,),
        foils,
        fields.names(record, where),
      )
    )
  if unvoted:
    collector.remark(
      f'{unvoted:,} records have no votes of annotators (mturk) and are scored'
    )
  return collector.file()
