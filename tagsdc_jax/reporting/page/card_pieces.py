"""Cuts sentences where edits and words begin and end."""

import unicodedata
from collections.abc import Iterable, Sequence

from tagsdc_jax.data import captions
from tagsdc_jax.negative_files import records
from tagsdc_jax.reporting.page.card_content import Piece

# [start, end) of a stretch of characters, and the kind of its edit.
_Span = tuple[int, int, str]


def of_caption(text: str, edits: Iterable[records.Edit]) -> list[Piece]:
  """Returns a caption with the characters that its negative replaces."""
  return _cut(text, [(one.start, one.end, one.kind) for one in edits])


def of_negative(one: records.Negative) -> tuple[list[Piece], list[Piece]]:
  """Returns a negative with its edits and the probabilities of its words.

  Returns:
    the pieces of its text; and the words that the probabilities belong to, if
    they do not stand in the text as they are.
  """
  edits = [
    (edit.new_start, edit.new_start + len(edit.new), edit.kind)
    for edit in one.edits
  ]
  if not one.words or len(one.words) != len(one.replaced):
    return _cut(one.text, edits), []
  spans = _find(one.words, one.text)
  if spans is None:
    return _cut(one.text, edits), [
      Piece(
        ('' if not place or captions.continues_word(word) else ' ')
        + _bare(word),
        '',
        p,
      )
      for place, (word, p) in enumerate(zip(one.words, one.replaced))
    ]
  pieces, done = [], 0
  for (start, end), probability in zip(spans, one.replaced):
    if done < start:
      pieces.append(Piece(one.text[done:start]))
    kind = next((k for low, high, k in edits if low < end and start < high), '')
    pieces.append(Piece(one.text[start:end], kind, probability))
    done = end
  return [*pieces, *([Piece(one.text[done:])] if one.text[done:] else ())], []


def _cut(text: str, spans: Sequence[_Span]) -> list[Piece]:
  """Returns the pieces inside and outside of spans."""
  pieces, done = [], 0
  for start, end, kind in sorted(spans):
    start = max(start, done)
    if start < min(end, len(text)):
      pieces += [Piece(text[done:start]), Piece(text[start:end], kind)]
      done = end
  return [one for one in [*pieces, Piece(text[done:])] if one.text]


def _find(words: Sequence[str], text: str) -> list[tuple[int, int]] | None:
  """Returns where words stand in a text, None if it has others.

  Case and accents are ignored, as vocabularies may.
  """
  spans, place = [], 0
  for word in words:
    while place < len(text) and text[place].isspace():
      place += 1
    wanted, end = _plain(_bare(word)), place
    while end < len(text) and len(_plain(text[place:end])) < len(wanted):
      end += 1
    # Combining accents belong to the word before.
    while end < len(text) and unicodedata.combining(text[end]):
      end += 1
    if not wanted or _plain(text[place:end]) != wanted:
      return None
    spans.append((place, end))
    place = end
  return None if text[place:].strip() else spans


def _bare(word: str) -> str:
  return word[2:] if captions.continues_word(word) else word


def _plain(text: str) -> str:
  return ''.join(
    one
    for one in unicodedata.normalize('NFD', text.casefold())
    if not unicodedata.combining(one)
  )
