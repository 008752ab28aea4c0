"""Phrases of a caption: objects, attributes and relations. No randomness.

A phrase is a tuple of token positions, counted from 0 without [CLS]. Phrases
may overlap; equal phrases count once each, as in the reference.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int8

from tagsdc_jax.data.dataset import Caption
from tagsdc_jax.errors import UserError

Phrases = tuple[tuple[int, ...], ...]

# As in settings.PHRASE_KINDS, from 1.
OBJECT, ATTRIBUTE, RELATION = 1, 2, 3
_SECTIONS = {'node': OBJECT, 'attribute': ATTRIBUTE, 'relation': RELATION}
_MAX_COUNT = np.iinfo(np.int8).max


def phrases_from_tree(
  tree: Any, length: int, caption_id: str
) -> tuple[Phrases, tuple[int, ...]]:
  """Returns the token positions and the kind of every phrase of a scene graph.

  Args:
    tree: None, or a dict of lists of phrases under "node", "attribute" and
      "relation"; a phrase is {"ids": positions, "text": ...}. Missing sections
      and phrases without positions (no "ids", None or an empty list) are
      skipped: they contain nothing to mask.
    length: number of tokens of the caption, without [CLS] and [SEP].
    caption_id: for messages.
  Returns:
    Nodes, attributes and relations in this order, each as stored; and the kind
    of each, OBJECT, ATTRIBUTE or RELATION.
  Raises:
    UserError: if a position is not one of the caption's.
  """
  if tree is None:
    return (), ()
  if not isinstance(tree, Mapping):
    raise _malformed(caption_id, 'tree', 'a dict of lists', tree)
  phrases, kinds = [], []
  for section, kind in _SECTIONS.items():
    entries = tree.get(section) or ()
    if not isinstance(entries, Sequence) or isinstance(entries, str):
      raise _malformed(caption_id, section, 'a list of phrases', entries)
    for number, entry in enumerate(entries):
      name = f'{section} {number}'
      if not isinstance(entry, Mapping):
        raise _malformed(caption_id, name, 'a dict with ids', entry)
      if isinstance(entry.get('text'), str):
        name += f' {entry["text"]!r}'
      positions = entry.get('ids')
      if positions is None:
        continue
      _check_positions(positions, length, caption_id, name)
      if positions:
        phrases.append(tuple(positions))
        kinds.append(kind)
  return tuple(phrases), tuple(kinds)


def num_phrases(caption: Caption) -> int:
  """Returns how many rows `phrase_counts` fills for this caption."""
  return len(caption.phrases) or len(caption.token_ids)


def phrase_counts(
  phrases: Sequence[Sequence[int]],
  length: int,
  max_phrases: int,
  row_length: int,
  offset: int = 1,
) -> Int8[np.ndarray, 'P L']:
  """Returns how often each phrase lists each position of the padded row.

  Args:
    phrases: token positions, from 0 without [CLS]. If there are none,
      every token is its own phrase.
    length: number of tokens of the caption, without [CLS] and [SEP].
    max_phrases: number of rows P; those beyond the phrases are zero.
    row_length: length L of the padded caption.
    offset: added to each position; 1 for [CLS].
  Raises:
    UserError: if there are more phrases than rows or a position does not fit.
  """
  if not phrases:
    phrases = [(position,) for position in range(length)]
  if len(phrases) > max_phrases:
    raise UserError(
      f'a caption must have at most max_phrases = {max_phrases} phrases, got '
      f'{len(phrases)}; raise max_phrases'
    )
  counts = np.zeros((max_phrases, row_length), np.int8)
  for row, positions in zip(counts, phrases, strict=False):
    for position in positions:
      if not 0 <= position < length or position + offset >= row_length:
        raise UserError(
          f'phrase positions must be 0..{length - 1} and fit a row of '
          f'{row_length} with offset {offset}, got {position}'
        )
      if row[position + offset] == _MAX_COUNT:
        raise UserError(
          f'a phrase may list a position at most {_MAX_COUNT} times, '
          f'position {position} occurs more often'
        )
      row[position + offset] += 1
  return counts


def _check_positions(
  positions: Any, length: int, caption_id: str, name: str
) -> None:
  if (
    not isinstance(positions, Sequence)
    or isinstance(positions, str)
    or not all(type(position) is int for position in positions)
  ):
    raise _malformed(
      caption_id, f'ids of {name}', 'a list of integers', positions
    )
  for position in positions:
    if not 0 <= position < length:
      raise UserError(
        f'caption {caption_id}: {name} lists token position {position}, '
        f'expected 0..{length - 1} for a caption of {length} tokens; ids '
        'count word pieces from 0 without [CLS], write the record again'
      )


def _malformed(
  caption_id: str, name: str, expected: str, actual: Any
) -> UserError:
  return UserError(
    f'caption {caption_id}: {name} must be {expected}, got '
    f'{str(actual)[:60]!r} ({type(actual).__name__}); write the record again'
  )
