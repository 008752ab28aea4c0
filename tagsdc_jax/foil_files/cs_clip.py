"""CS-CLIP's training file: captions, and what may replace their entities."""

from tagsdc_jax import errors
from tagsdc_jax.foil_files import fields, loading, records

FAMILY = 'CS-CLIP'


def looks(content: loading.Content) -> bool:
  """Returns whether the first record has entities and what is not there."""
  return bool(
    fields.key_of(content.first, ('original_caption',))
    and fields.key_of(content.first, ('negative_entities',))
  )


def read(content: loading.Content) -> records.FoilFile:
  """Returns an item per negative entity; the kind is its type of change.

  A foil is the caption with the entity replaced where it first stands. Negative
  relations are triples, not sentences; they are counted.

  Raises:
    UserError: if a record is malformed.
  """
  collector = records.Collector(content.path, FAMILY)
  for place, record in content.records:
    where = content.where(place)
    record = fields.mapping(record, where)
    caption = fields.text(record, 'original_caption', where)
    if not caption:
      collector.leave_out('no_text')
      continue
    names = fields.names(record, where)
    negatives = fields.mapping(record.get('negative_entities') or {}, where)
    number = 0
    for entity, listed in negatives.items():
      for one in _list(listed, f'negative_entities.{entity}', where):
        one = fields.mapping(one, f'{where}: negative_entities.{entity}')
        word = fields.text(one, 'negative', where)
        if not word or not entity or entity not in caption:
          collector.leave_out('no_sentence')
          continue
        number += 1
        collector.add(
          records.Item(
            f'{fields.item_id(place)}-{number}',
            fields.text(one, 'change_type', where) or 'entity',
            (caption,),
            (caption.replace(entity, word, 1),),
            names,
          )
        )
    for relation in _list(record.get('relations') or [], 'relations', where):
      relation = fields.mapping(relation, f'{where}: relations')
      for _ in _list(relation.get('negatives') or [], 'negatives', where):
        collector.leave_out('no_sentence')
  return collector.file()


def _list(value: object, key: str, where: str) -> list:
  if not isinstance(value, list):
    raise errors.UserError(
      f'{where}: {key} must be a list, got {str(value)[:40]!r}'
    )
  return value
