"""Captions as they were written: where each token stands, and edited copies.

Generated sentences are token ids. What people read and train on is the
caption as it was written, with only the changed words replaced.
"""

import dataclasses
import difflib
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data.dataset import Caption, Vocabulary

Spans = tuple[tuple[int, int], ...]
# If more words than this differ, words may have moved.
_MOVED = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
  """A caption as it was written.

  Attributes:
    text: the sentence.
    token_ids: int [tokens], without [CLS] and [SEP].
    spans: [start, end) of each token's characters in the text.
  """

  text: str
  token_ids: np.ndarray
  spans: Spans


class Change(NamedTuple):
  """A stretch of tokens that is replaced.

  Attributes:
    start, end: the caption's tokens, end exclusive.
    new_start, new_end: the tokens of the other sentence.
    phrase: number of the phrase that it is part of, or -1.
  """

  start: int
  end: int
  new_start: int
  new_end: int
  phrase: int


class Writer:
  """Writes captions and sentences made from them."""

  def __init__(self, vocabulary: Vocabulary) -> None:
    """Uses a vocabulary.

    Raises:
      UserError: if its words are not known.
    """
    self._vocabulary = vocabulary
    self._locate = captions_lib.make_locator(vocabulary)
    self._is_lower_case = captions_lib.is_lower_case(vocabulary.words)

  def written(self, caption: Caption) -> Written:
    """Returns a caption as it was written.

    Its text, if that has the caption's tokens; else its tokens as words, e.g.
    for a caption that was cut off.
    """
    if caption.text:
      token_ids, spans = self._locate(caption.text)
      if np.array_equal(token_ids, caption.token_ids):
        return Written(caption.text, caption.token_ids, spans)
    text, spans = _joined(caption.token_ids, self._vocabulary)
    return Written(text, caption.token_ids, spans)

  def edited(
    self, caption: Written, token_ids: np.ndarray, changes: Sequence[Change]
  ) -> tuple[str, list[tuple[int, int, int, str]]]:
    """Returns the text of a sentence, and what was replaced.

    Args:
      caption: what the sentence was made from.
      token_ids: int [tokens] of the sentence.
      changes: from `find_changes`.
    Returns:
      the text; and, for each change, [start, end) of the caption's characters,
      the start of the new characters in the text, and the new characters.
    """
    text, done, found = '', 0, []
    for change in changes:
      start, end = _characters(caption, change)
      new = _joined(
        token_ids[change.new_start : change.new_end], self._vocabulary
      )[0]
      old = caption.text[start:end]
      if self._is_lower_case and old[:1].isupper():
        new = new[:1].upper() + new[1:]
      if not old and new:  # Words are added.
        new += ' '
      text += caption.text[done:start]
      if not new and text.endswith(' '):  # Words are taken away.
        text = text[:-1]
      found.append((start, end, len(text), new))
      text += new
      done = end
    return text + caption.text[done:], found

  def is_readable(
    self, text: str, token_ids: np.ndarray, changes: Sequence[Change]
  ) -> bool:
    """Returns whether a sentence is words, and its text has these tokens.

    Not so for special tokens, and for pieces of words that do not fit together.

    Args:
      text: from `edited`.
      token_ids: int [tokens] of the sentence.
      changes: from `find_changes`.
    """
    words = self._vocabulary
    special = (words.pad, words.unk, words.cls, words.sep, words.mask)
    return not any(
      np.isin(token_ids[one.new_start : one.new_end], special).any()
      for one in changes
    ) and np.array_equal(self._locate(text)[0], token_ids)


def find_changes(
  caption: Caption, token_ids: np.ndarray, vocabulary: Vocabulary
) -> list[Change]:
  """Returns what has to be replaced in a caption for another sentence.

  Whole words are replaced, and words of different phrases one by one. Words
  at equal positions are compared, unless words have moved.

  Args:
    caption: with its phrases.
    token_ids: int [tokens] of the other sentence, without [CLS] and [SEP].
    vocabulary: of both.
  """
  before = caption.token_ids
  different: list[int] | None = None
  if len(before) == len(token_ids):
    different = np.flatnonzero(before != token_ids).tolist()
  if different is None or len(different) > _MOVED:
    stretches = _swapped(caption, token_ids) or [
      (start, end, new_start, new_end)
      for tag, start, end, new_start, new_end in difflib.SequenceMatcher(
        None, before.tolist(), token_ids.tolist(), autojunk=False
      ).get_opcodes()
      if tag != 'equal'
    ]
  if different is not None and (
    len(different) <= _MOVED
    or len(different) <= sum(end - start for start, end, *_ in stretches)
  ):
    stretches = [(i, i + 1, i, i + 1) for i in different]
  continues = lambda i: (
    i < len(before) and captions_lib.is_piece(int(before[i]), vocabulary)
  )
  changes: list[Change] = []
  for start, end, new_start, new_end in stretches:
    phrase = phrase_of(caption, range(start, end))
    while start and continues(start):
      start, new_start = start - 1, new_start - 1
    while end > start and continues(end):
      end, new_end = end + 1, new_end + 1
    last = changes[-1] if changes else None
    if last and (
      start < last.end or (start == last.end and phrase == last.phrase)
    ):
      changes[-1] = last._replace(
        end=max(end, last.end), new_end=max(new_end, last.new_end)
      )
    else:
      changes.append(Change(start, end, new_start, new_end, phrase))
  return changes


def phrase_of(caption: Caption, positions: Sequence[int]) -> int:
  """Returns the number of the smallest phrase with all positions, or -1."""
  wanted = set(positions)
  found = [
    (len(phrase), number)
    for number, phrase in enumerate(caption.phrases)
    if wanted and wanted <= set(phrase)
  ]
  return min(found)[1] if found else -1


def _swapped(
  caption: Caption, token_ids: np.ndarray
) -> list[tuple[int, int, int, int]]:
  """Returns the two phrases that have changed places, if that is all.

  Only phrases without gaps are tried.
  """
  before = caption.token_ids
  spans = sorted(
    (min(phrase), max(phrase) + 1)
    for phrase in caption.phrases
    if phrase and max(phrase) - min(phrase) + 1 == len(set(phrase))
  )
  for (start, end), (later, last) in itertools.combinations(spans, 2):
    if end > later:
      continue
    moved = last - (end - start)
    parts = before[later:last], before[end:later], before[start:end]
    if np.array_equal(
      np.concatenate([before[:start], *parts, before[last:]]), token_ids
    ):
      return [
        (start, end, start, start + last - later),
        (later, last, moved, last),
      ]
  return []


def _characters(caption: Written, change: Change) -> tuple[int, int]:
  spans = caption.spans
  if change.start < change.end:
    return spans[change.start][0], spans[change.end - 1][1]
  place = (
    spans[change.start][0] if change.start < len(spans) else len(caption.text)
  )
  return place, place


def _joined(
  token_ids: Sequence[int] | np.ndarray, vocabulary: Vocabulary
) -> tuple[str, Spans]:
  """Returns tokens as words, and where each stands."""
  text, spans = '', []
  for token in token_ids:
    one = vocabulary.words[token]
    if captions_lib.is_piece(int(token), vocabulary):
      one = one[2:]
    elif text:
      text += ' '
    spans.append((len(text), len(text) + len(one)))
    text += one
  return text, tuple(spans)
