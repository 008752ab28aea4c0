"""FG-OVD: a box with the expression that fits it, and up to ten that do not.

As JSON lines (FG-CLIP's copies), or as the original: COCO's annotations, whose
categories are the expressions.
"""

from collections.abc import Mapping
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.foil_files import fields, loading, records

FAMILY = 'FG-OVD'


def looks(content: loading.Content) -> bool:
  """Returns whether the file has expressions, or categories and negatives."""
  if fields.key_of(content.first, ('pos_expression',)):
    return True
  annotations = _annotations(content.whole)
  return bool(annotations) and 'neg_category_ids' in annotations[0]


def read(content: loading.Content) -> records.FoilFile:
  """Returns the items; the kind is the file's name.

  Raises:
    UserError: if a record is malformed.
  """
  collector = records.Collector(content.path, FAMILY)
  if _annotations(content.whole):
    _read_original(content, collector)
    return collector.file()
  for place, record in content.records:
    where = content.where(place)
    record = fields.mapping(record, where)
    captions, foils = (
      fields.texts(
        record, fields.required(record, (key,), 'expressions', where), where
      )
      for key in ('pos_expression', 'neg_expression')
    )
    _add(
      collector,
      place,
      captions,
      foils,
      fields.names(record, where),
      fields.box(record.get('bbox'), record, where),
      fields.stem(content.path),
    )
  return collector.file()


def _read_original(
  content: loading.Content, collector: records.Collector
) -> None:
  whole = content.whole
  pictures = {
    one.get('id'): one
    for one in whole.get('images', ())
    if isinstance(one, Mapping)
  }
  expressions = {
    one.get('id'): fields.text(one, 'name', content.where('categories'))
    for one in whole.get('categories', ())
    if isinstance(one, Mapping)
  }
  for number, record in enumerate(_annotations(whole)):
    place = f'annotations[{number}]'
    where = content.where(place)
    record = fields.mapping(record, where)
    image, negatives = record.get('image_id'), record.get('neg_category_ids')
    if not isinstance(negatives, list):
      raise errors.UserError(
        f'{where}: neg_category_ids must be a list, got {str(negatives)[:40]!r}'
      )
    numbers = [record.get('category_id'), *negatives]
    unknown = next((x for x in numbers if x not in expressions), None)
    if image not in pictures or unknown is not None:
      raise errors.UserError(
        f'{where}: image_id and category ids must be of images and categories '
        f'of the file, got image {image!r} and category {unknown!r}'
      )
    captions, *foils = [expressions[x] for x in numbers]
    _add(
      collector,
      place,
      (captions,) if captions else (),
      tuple(filter(None, foils)),
      fields.names(pictures[image], where),
      fields.box(record.get('bbox'), pictures[image], where),
      fields.stem(content.path),
    )


def _add(
  collector: records.Collector,
  place: str,
  captions: tuple[str, ...],
  foils: tuple[str, ...],
  names: tuple[str, ...],
  box: records.Box,
  kind: str,
) -> None:
  if not captions or not foils:
    collector.leave_out('no_text')
    return
  collector.add(
    records.Item(fields.item_id(place), kind, captions, foils, names, box)
  )


def _annotations(whole: Any) -> list[Any]:
  found = whole.get('annotations') if isinstance(whole, Mapping) else None
  if isinstance(found, list) and found and isinstance(found[0], Mapping):
    return found
  return []
