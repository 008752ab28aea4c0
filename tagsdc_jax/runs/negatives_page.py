"""Writes the page of a file of negatives beside it."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import files
from tagsdc_jax.evaluation import blind
from tagsdc_jax.negative_files import card as cards
from tagsdc_jax.negative_files import records
from tagsdc_jax.reporting.page import card as rendering
from tagsdc_jax.reporting.page import card_content as content
from tagsdc_jax.reporting.page import card_pieces
from tagsdc_jax.reporting.page.content import Picture
from tagsdc_jax.runs import pictures, prepared_examples

PAGE = 'page.html'


def write_page(
  path: Path, target: Path | None = None, find: pictures.ByName | None = None
) -> Path:
  """Writes the page of a file of negatives, whole or not at all.

  Args:
    path: the file.
    target: of the page; None: page.html beside the file.
    find: returns the picture of an image id, see `pictures.by_name`; None:
      the photos of the file's header are shown, if they are there.
  Returns:
    the path of the page.
  Raises:
    UserError: if the file is none, is damaged, or the page cannot be written.
  """
  target = target or path.parent / PAGE
  file = records.File(path)
  files.check_target(target)
  page = rendering.render(read_page(file, find)).encode('utf-8', 'replace')
  files.write_bytes(target, page)
  return target


def read_page(
  file: records.File, find: pictures.ByName | None = None
) -> content.Page:
  """Returns the contents of the page.

  What is missing or damaged in the header is left out; a missing card is made
  again from the captions.

  Args and errors: see `write_page`.
  """
  header = file.header
  card = content.part(header, 'card') or cards.make(file)
  data = content.part(header, 'data')
  examples = []
  for fields in _listed(card.get('examples')):
    try:
      record = records.from_fields(fields)
      examples.append(_example(record, find, str(data.get('photos') or '')))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
      continue
  return content.Page(
    _name(data) or file.path.stem,
    content.read_numbers(card),
    content.read_calibration(header.get('calibration')),
    examples,
    any(example.picture.file for example in examples),
    {
      name: ', '.join(f'{key} {value}' for key, value in _shown(found).items())
      for name in ('model', 'judge', 'start')
      if (found := content.part(header, name))
    },
    _shown(data),
    _shown(content.part(header, 'settings')),
  )


def _example(
  record: records.Captioned, find: pictures.ByName | None, photos: str
) -> content.Example:
  (one,) = record.negatives
  picture = (
    find(record.image_id)
    if find
    else _from_photos(photos, record.image_id, record.path)
  )
  negative, words = card_pieces.of_negative(one)
  return content.Example(
    picture,
    str(record.caption_id),
    card_pieces.of_caption(record.text, one.edits),
    float(record.score),
    _probability(record.probability),
    one.kind,
    str(one.source),
    negative,
    float(one.score),
    _probability(one.probability),
    words,
    one.corrected,
    one.corrected is not None
    and blind.words(one.corrected) == blind.words(record.text),
    [
      remark
      for is_so, remark in (
        (one.is_caption, 'equals another caption of the picture'),
        (one.is_contained, 'is part of another caption of the picture'),
      )
      if is_so
    ],
  )


@functools.lru_cache(maxsize=cards.NUM_EXAMPLES)
def _from_photos(photos: str, name: str, path: str) -> Picture:
  file, ratio = (
    prepared_examples.small_photo(photos, path) if photos else (None, 0.0)
  )
  return Picture(str(name), file, (), ratio)


def _probability(value: Any) -> float | None:
  return None if value is None else float(value)


def _name(data: Mapping[str, Any]) -> str:
  """Returns the name of the data with its split; empty if unknown."""
  return '/'.join(str(data[key]) for key in ('name', 'split') if data.get(key))


def _listed(value: Any) -> list[Any]:
  return value if isinstance(value, list) else []


def _shown(fields: Mapping[str, Any]) -> dict[str, str]:
  """Returns names and values as text, without the empty ones."""
  return {
    str(name): str(value)
    for name, value in fields.items()
    if value not in (None, '', [], {})
  }
