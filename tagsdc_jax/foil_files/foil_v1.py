"""FOIL v1: captions of COCO, and copies in which one noun is wrong."""

from collections.abc import Mapping
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.foil_files import fields, loading, records

FAMILY = 'FOIL'


def looks(content: loading.Content) -> bool:
  """Returns whether there are annotations that say what is a foil."""
  found = _annotations(content.whole)
  return bool(found) and isinstance(found[0], Mapping) and 'foil' in found[0]


def read(content: loading.Content) -> records.FoilFile:
  """Returns an item per caption: the caption, and the foils with its id.

  An item may lack either; its other sentences are still classified.

  Raises:
    UserError: if an annotation is malformed.
  """
  collector = records.Collector(content.path, FAMILY)
  pictures = {
    one['id']: one
    for one in content.whole.get('images', ())
    if isinstance(one, Mapping) and 'id' in one and 'file_name' in one
  }
  groups: dict[tuple[Any, Any], list[tuple[str, Any]]] = {}
  for number, record in enumerate(_annotations(content.whole)):
    where = content.where(f'annotations[{number}]')
    record = fields.mapping(record, where)
    if not fields.text(record, 'caption', where):
      collector.leave_out('no_text')
      continue
    key = record.get('image_id'), record.get('id')
    if not all(type(part) in (int, str) for part in key):
      raise errors.UserError(
        f'{where}: image_id and id must be numbers, got {key[0]!r} and '
        f'{key[1]!r}'
      )
    groups.setdefault(key, []).append((where, record))
  for (image, number), members in groups.items():
    foils = [one for one in members if _is_foil(*one)]
    captions = [one for one in members if not _is_foil(*one)]
    if len(captions) > 1:
      raise errors.UserError(
        f'{captions[1][0]}: caption {number} of image {image} is there twice; '
        'a caption must be there once, beside its foils'
      )
    name = pictures.get(image, {}).get('file_name')
    collector.add(
      records.Item(
        f'{number}',
        fields.stem(content.path),
        _texts(captions),
        _texts(foils),
        tuple(
          fields.picture(x, 'file_name', members[0][0])
          for x in (name, _coco_name(image))
          if x
        ),
        swaps=tuple(
          (
            fields.text(record, 'foil_word', where),
            fields.text(record, 'target_word', where),
          )
          for where, record in foils
        ),
      )
    )
  return collector.file()


def _texts(members: list[tuple[str, Any]]) -> tuple[str, ...]:
  return tuple(
    fields.text(record, 'caption', where) for where, record in members
  )


def _is_foil(where: str, record: Mapping[str, Any]) -> bool:
  value = record.get('foil')
  if not isinstance(value, bool):
    raise errors.UserError(
      f'{where}: foil must be true or false, got {str(value)[:40]!r}'
    )
  return value


def _coco_name(image: int | str) -> str:
  """Returns a name that says that the number is COCO's."""
  text = str(image)
  return f'COCO_val2014_{int(text):012d}.jpg' if text.isdecimal() else text


def _annotations(whole: Any) -> list[Any]:
  found = whole.get('annotations') if isinstance(whole, Mapping) else None
  return found if isinstance(found, list) else []
