"""Counts what a prepared data set contains, one picture at a time."""

import dataclasses
import re
from collections import Counter

import numpy as np

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import dataset, phrases
from tagsdc_jax.data.prepared import dataset as prepared

# As BERT's tokenizers split a sentence before its words become pieces.
_WORD = re.compile(r'[^\W_]+|[^\w\s]|_')


@dataclasses.dataclass
class Contents:
  """What a split contains.

  Attributes:
    pictures: number of pictures.
    captions: number of captions.
    tokens: tokens of a caption -> captions.
    regions: regions of a picture -> pictures.
    phrases: kind -> (its phrases in a caption -> captions).
    bare: captions without phrases.
    unknown: [UNK] tokens.
    unknown_words: word that became [UNK] -> how often; lower case; words of
      captions that are not split as BERT does are missing.
  """

  pictures: int = 0
  captions: int = 0
  tokens: Counter[int] = dataclasses.field(default_factory=Counter)
  regions: Counter[int] = dataclasses.field(default_factory=Counter)
  phrases: dict[int, Counter[int]] = dataclasses.field(default_factory=dict)
  bare: int = 0
  unknown: int = 0
  unknown_words: Counter[str] = dataclasses.field(default_factory=Counter)

  def add(
    self, picture: prepared.Picture, vocabulary: dataset.Vocabulary
  ) -> None:
    """Counts a picture and its captions."""
    self.pictures += 1
    self.regions[picture.num_regions] += 1
    for caption in picture.captions:
      self._add_caption(caption, vocabulary)

  def _add_caption(
    self, caption: dataset.Caption, vocabulary: dataset.Vocabulary
  ) -> None:
    self.captions += 1
    self.tokens[len(caption.token_ids)] += 1
    self.bare += not caption.phrases
    kinds = caption.phrase_kinds or (0,) * len(caption.phrases)
    for kind in set(kinds):
      # Captions without any are counted in the end, see `phrases_of`.
      self.phrases.setdefault(kind, Counter())[kinds.count(kind)] += 1
    unknown = int(np.count_nonzero(caption.token_ids == vocabulary.unk))
    if unknown:
      self.unknown += unknown
      self.unknown_words.update(unknown_words(caption, vocabulary))

  def phrases_of(self, kind: int) -> Counter[int]:
    """Returns phrases of a kind in a caption -> captions, with those at 0."""
    counts = Counter(self.phrases.get(kind, ()))
    counts[0] = self.captions - counts.total()
    return counts

  def __add__(self, other: 'Contents') -> 'Contents':
    kinds = {*self.phrases, *other.phrases}
    return Contents(
      self.pictures + other.pictures,
      self.captions + other.captions,
      self.tokens + other.tokens,
      self.regions + other.regions,
      {
        kind: self.phrases.get(kind, Counter())
        + other.phrases.get(kind, Counter())
        for kind in kinds
      },
      self.bare + other.bare,
      self.unknown + other.unknown,
      self.unknown_words + other.unknown_words,
    )


def unknown_words(
  caption: dataset.Caption, vocabulary: dataset.Vocabulary
) -> list[str]:
  """Returns the words of a caption that became [UNK], in lower case.

  Empty if the vocabulary's words are unknown, or if the text is not split into
  as many words as there are in the tokens.
  """
  starts = [
    int(token)
    for token in caption.token_ids
    if not captions_lib.is_piece(int(token), vocabulary)
  ]
  for words in (_WORD.findall(caption.text), caption.text.split()):
    if vocabulary.words and len(words) == len(starts):
      return [
        word.casefold()
        for word, token in zip(words, starts, strict=True)
        if token == vocabulary.unk
      ]
  return []


def winners(caption: dataset.Caption) -> list[int | None]:
  """Returns the number of the phrase that each token is shown as part of.

  Where phrases overlap, an object precedes an attribute, and both a relation:
  relations often list the objects that they relate.
  """
  kinds = caption.phrase_kinds or (0,) * len(caption.phrases)
  order = (phrases.OBJECT, phrases.ATTRIBUTE, phrases.RELATION, 0)
  found: list[int | None] = [None] * len(caption.token_ids)
  for kind in reversed(order):
    for number, positions in reversed([*enumerate(caption.phrases)]):
      if kinds[number] == kind:
        for position in positions:
          found[position] = number
  return found
