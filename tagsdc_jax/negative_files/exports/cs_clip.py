"""CS-CLIP's units: entities and relations of a caption, and their negatives."""

import dataclasses
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tagsdc_jax.negative_files import records
from tagsdc_jax.negative_files.exports import encoding, source

_FILE = 'negatives.json'
# Kinds of change that CS-CLIP's sampler uses; those of entities are free.
_SWAP, _RELATION = 'subject_object_swap', 'relation_change'


@dataclasses.dataclass(frozen=True, slots=True)
class _Span:
  """A stretch of the caption's characters, end exclusive."""

  start: int
  end: int

  def holds(self, start: int, end: int) -> bool:
    return self.start <= start and end <= self.end


@dataclasses.dataclass(frozen=True, slots=True)
class _Relation:
  """A relation with its subject and object."""

  subject: _Span
  relation: _Span
  object: _Span


def _write(given: source.Source, folder: Path) -> None:
  with open(folder / _FILE, 'wb') as file:
    encoding.write_list(file, _samples(given))


def _samples(given: source.Source) -> Iterator[dict[str, Any]]:
  for row in given.rows():
    sample, num_whole = units(row)
    given.count(
      'kept as whole sentences',
      'negatives that are no change of one entity or relation',
      num_whole,
    )
    given.count(
      'without entities',
      'captions, of which CS-CLIP draws whole sentences only',
      int(not sample['entities']),
    )
    yield sample


def units(row: source.Row) -> tuple[dict[str, Any], int]:
  """Returns CS-CLIP's sample for a caption.

  Args:
    row: the caption and its negatives.
  Returns:
    the sample; and the number of negatives that are in it only as whole
    sentences, under `swap_negatives`.
  """
  caption = row.record.text
  entities = _entities(row.record)
  relations = _relations(row.record, entities)
  text = lambda span: caption[span.start : span.end]
  of_entities: dict[str, list[dict[str, str]]] = {}
  of_relations: list[list[dict[str, str]]] = [[] for _ in relations]
  num_whole = 0
  for negative in row.negatives:
    is_placed = False
    for entity in entities:
      changed = _changed(negative, entity)
      if changed is not None:
        one = {'negative': changed, 'change_type': f'{negative.kind}_change'}
        listed = of_entities.setdefault(text(entity), [])
        is_placed = True
        if one not in listed:
          listed.append(one)
    for number, triple in enumerate(relations):
      found = _changed_relation(caption, negative, triple)
      if found is not None:
        is_placed = True
        if found not in of_relations[number]:
          of_relations[number].append(found)
    num_whole += not is_placed
  return {
    'sample_id': row.record.image_id,
    'original_caption': caption,
    'entities': [text(entity) for entity in entities],
    'negative_entities': of_entities,
    'relations': [
      {
        'subject': text(triple.subject),
        'relation_type': text(triple.relation),
        'object': text(triple.object),
        'negatives': negatives,
      }
      for triple, negatives in zip(relations, of_relations, strict=True)
    ],
    # Read, but not in CS-CLIP's description: negatives of the whole caption.
    'swap_negatives': [{'negative': one.text} for one in row.negatives],
    'image_path': row.picture,
  }, num_whole


def _entities(record: records.Captioned) -> list[_Span]:
  """Returns objects with the attributes that stand next to them.

  CS-CLIP replaces the first occurrence of an entity's text, so entities whose
  text also stands earlier, e.g. within another word, are left out.
  """
  text, attributes = record.text, _spans(record, 'attribute')
  found = {_grown(text, span, attributes) for span in _spans(record, 'object')}
  return [
    span
    for span in sorted(found, key=_place)
    if span.start < span.end
    and text.find(text[span.start : span.end]) == span.start
    and not any(
      other != span and other.holds(span.start, span.end) for other in found
    )
  ]


def _grown(text: str, span: _Span, others: Sequence[_Span]) -> _Span:
  """Returns a stretch together with all others that stand next to it."""
  before = None
  while span != before:
    before = span
    for other in others:
      if _touches(text, span, other):
        span = _Span(min(span.start, other.start), max(span.end, other.end))
  return span


def _relations(
  record: records.Captioned, entities: Sequence[_Span]
) -> list[_Relation]:
  """Returns relations between the nearest entities before and after them."""
  found = []
  for span in _spans(record, 'relation'):
    before = [one for one in entities if one.end <= span.start]
    after = [one for one in entities if one.start >= span.end]
    if before and after:
      found.append(_Relation(before[-1], span, after[0]))
  return found


def _spans(record: records.Captioned, kind: str) -> list[_Span]:
  """Returns the phrases of a kind that are one stretch of characters."""
  spans = {
    _Span(*phrase.spans[0])
    for phrase in record.phrases
    if phrase.kind == kind and len(phrase.spans) == 1
  }
  return sorted(spans, key=_place)


def _place(span: _Span) -> tuple[int, int]:
  return span.start, span.end


def _touches(text: str, one: _Span, other: _Span) -> bool:
  """Returns whether two stretches overlap, or only spaces are between."""
  first, second = sorted((one, other), key=lambda span: span.start)
  return not text[first.end : second.start].strip(' ')


def _changed(negative: records.Negative, span: _Span) -> str | None:
  """Returns a stretch of the caption as the negative has it.

  Returns None if an edit is outside of it, or nothing is left.
  """
  if not all(span.holds(edit.start, edit.end) for edit in negative.edits):
    return None
  last = negative.edits[-1]
  end = last.new_start + len(last.new) + span.end - last.end
  return negative.text[span.start : end].strip() or None


def _changed_relation(
  caption: str, negative: records.Negative, triple: _Relation
) -> dict[str, str] | None:
  """Returns a relation as the negative has it, None if it changes more."""
  text = lambda span: caption[span.start : span.end]
  subject, relation, object_ = (
    text(span) for span in (triple.subject, triple.relation, triple.object)
  )
  changed = _changed(negative, triple.relation)
  if changed is not None:
    return {
      'subject': subject,
      'relation_type': changed,
      'object': object_,
      'change_type': _RELATION,
    }
  exchanged = (
    caption[: triple.subject.start]
    + object_
    + caption[triple.subject.end : triple.object.start]
    + subject
    + caption[triple.object.end :]
  )
  # At the start of a sentence, the first letter changes as well.
  if exchanged.casefold() == negative.text.casefold():
    return {
      'subject': object_,
      'relation_type': relation,
      'object': subject,
      'change_type': _SWAP,
    }
  return None


def _hints(given: source.Source, out: Path) -> list[str]:
  folder = shlex.quote(given.images or source.NO_FOLDER)
  return [
    "CS-CLIP reads pictures with 'train' in their path only, unless "
    'subset_name in configs/dataset/coco_neg.yaml is "all"',
    f'read by CS-CLIP with TRAIN_JSON_DIR={shlex.quote(os.path.abspath(out))} '
    f'IMAGE_ROOT={folder} RUN_NAME=NAME ./train_structured.sh',
  ]


CS_CLIP = source.Format(
  consumer='CS-CLIP',
  content=f'a folder with {_FILE}: entities, relations, and their negatives',
  lost='scores; phrases that are not one stretch of characters; relations '
  'without an object on both sides',
  write=_write,
  hints=_hints,
  is_folder=True,
)
