"""A caption's scene graph: phrases with their places in the text."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tagsdc_jax.data import phrases

# The kind of a phrase whose kind nobody knows; see `function_words`.
UNKNOWN = 0

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Phrase:
  """What masking covers as a unit.

  Attributes:
    kind: OBJECT, ATTRIBUTE or RELATION of data/phrases.py, or UNKNOWN.
    spans: [start, end) of each run of characters, in the order of the text.
      Of an attribute only the attribute's own words, of a relation only its
      predicate, as in the release's trees.
    heads: places in the text of the words that name the phrase, as spans. Of
      an object (head word,), of an attribute (object, attribute), of a
      relation (subject, last word of the predicate, object); empty if unknown.
  """

  kind: int
  spans: tuple[Span, ...]
  heads: tuple[Span, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class SceneGraph:
  """The phrases of one caption.

  Attributes:
    text: the caption.
    phrases: objects, attributes, relations in this order, each in the order
      of the text.
  """

  text: str
  phrases: tuple[Phrase, ...]

  def of_kind(self, kind: int) -> tuple[Phrase, ...]:
    """Returns the phrases of one kind."""
    return tuple(phrase for phrase in self.phrases if phrase.kind == kind)

  def words(self, phrase: Phrase) -> str:
    """Returns a phrase as text, e.g. "sitting next to"."""
    return ' '.join(self.text[start:end] for start, end in phrase.spans)


def to_positions(
  graph: SceneGraph, offsets: Sequence[Span], max_tokens: int | None = None
) -> tuple[phrases.Phrases, tuple[int, ...]]:
  """Returns phrases and kinds as `Caption` takes them.

  A word piece belongs to a phrase if they share a character. A phrase is
  dropped if one of its spans has no word piece or one beyond the cut.

  Args:
    graph: of the text that was tokenized.
    offsets: [start, end) of each word piece in the text, without [CLS] and
      [SEP]; see `captions.tokenize_with_offsets`.
    max_tokens: number of word pieces kept; None: all.
  Returns:
    The token positions of each phrase, counted from 0 without [CLS]; and the
    kind of each, or no kinds at all if one of them is unknown.
  """
  if not len(offsets):
    return (), ()
  pieces = np.asarray(offsets)
  starts, ends = pieces[:, 0], pieces[:, 1]
  length = len(pieces) if max_tokens is None else max_tokens
  found: list[tuple[int, ...]] = []
  kinds: list[int] = []
  for phrase in graph.phrases:
    parts = [
      np.flatnonzero((starts < end) & (ends > start))
      for start, end in phrase.spans
    ]
    positions = sorted({int(i) for part in parts for i in part})
    if all(part.size for part in parts) and positions[-1] < length:
      found.append(tuple(positions))
      kinds.append(phrase.kind)
  return tuple(found), () if UNKNOWN in kinds else tuple(kinds)
