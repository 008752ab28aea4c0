"""The sentences of the embedded world: words, parser, renderer, phrases.

sentence: "there is" mention ["and" mention ["and" mention]]
| clause ["and" clause]
clause:   mention relation mention
mention:  "a" [size] [color] shape
relation: "north of" | "south of" | "east of" | "west of"
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from tagsdc_jax.data import phrases
from tagsdc_jax.data.dataset import Vocabulary
from tagsdc_jax.data.world.scenes import COLORS, SHAPES, SIZES

# As on a map, north is up. Every relation is one word and "of", so that the
# number of words does not give the relation away.
RELATIONS = ('north', 'south', 'east', 'west')
SPECIALS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
WORDS = (
  SPECIALS
  + ('a', 'there', 'is', 'and', 'of')
  + RELATIONS
  + SIZES
  + COLORS
  + SHAPES
)
VOCABULARY = Vocabulary(
  size=len(WORDS),
  pad=0,
  unk=1,
  cls=2,
  sep=3,
  mask=4,
  random_range=(len(SPECIALS), len(WORDS)),
  words=WORDS,
)
# Four mentions with two attributes each and two relations.
MAX_PHRASES = 14

_ID_OF_WORD = {word: number for number, word in enumerate(WORDS)}


@dataclasses.dataclass(frozen=True, slots=True)
class Mention:
  """A shape that a caption names; None if the word is omitted."""

  shape: str
  colour: str | None = None
  size: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ParsedSentence:
  """The meaning of a sentence.

  Attributes:
    mentions: in the order of the sentence.
    relations: words of `RELATIONS`; number k joins mentions 2k and 2k + 1.
      Empty for a sentence that starts with "there is".
  """

  mentions: tuple[Mention, ...]
  relations: tuple[str, ...] = ()


def to_ids(words: Sequence[str]) -> np.ndarray:
  """Returns token ids, int32 [length]; unknown words become [UNK]."""
  ids = [_ID_OF_WORD.get(word, VOCABULARY.unk) for word in words]
  return np.array(ids, np.int32)


def to_words(token_ids: Sequence[int] | np.ndarray) -> tuple[str, ...]:
  """Returns the words of token ids [length], including special tokens."""
  return tuple(WORDS[number] for number in token_ids)


def write_vocabulary_file(path: str | os.PathLike[str]) -> None:
  """Writes one token per line, as BERT's WordPiece tokenizer reads it."""
  with open(path, 'w', encoding='utf-8') as stream:
    stream.writelines(f'{word}\n' for word in WORDS)


def parse(words: Sequence[str]) -> ParsedSentence | None:
  """Returns the parsed words, or None if they are not in the grammar."""
  if len(words) >= 2 and words[0] == 'there' and words[1] == 'is':
    mentions: list[Mention] = []
    position = 2
    while True:
      mention, position = _read_mention(words, position)
      if mention is None:
        return None
      mentions.append(mention)
      if position == len(words):
        return ParsedSentence(tuple(mentions))
      if words[position] != 'and' or len(mentions) == 3:
        return None
      position += 1
  return _parse_clauses(words)


def _parse_clauses(words: Sequence[str]) -> ParsedSentence | None:
  mentions: list[Mention] = []
  relations: list[str] = []
  position = 0
  while True:
    subject, position = _read_mention(words, position)
    if subject is None:
      return None
    relation, position = _read_relation(words, position)
    if relation is None:
      return None
    other, position = _read_mention(words, position)
    if other is None:
      return None
    mentions += [subject, other]
    relations.append(relation)
    if position == len(words):
      return ParsedSentence(tuple(mentions), tuple(relations))
    if words[position] != 'and' or len(relations) == 2:
      return None
    position += 1


def _read_mention(
  words: Sequence[str], position: int
) -> tuple[Mention | None, int]:
  """Returns the mention that starts at a position, and the next position."""
  rest = list(words[position : position + 4])
  count = len(rest)
  if not rest or rest.pop(0) != 'a':
    return None, position
  size = rest.pop(0) if rest and rest[0] in SIZES else None
  color = rest.pop(0) if rest and rest[0] in COLORS else None
  if not rest or rest[0] not in SHAPES:
    return None, position
  shape = rest.pop(0)
  return Mention(shape, color, size), position + count - len(rest)


def _read_relation(
  words: Sequence[str], position: int
) -> tuple[str | None, int]:
  pair = tuple(words[position : position + 2])
  if len(pair) == 2 and pair[0] in RELATIONS and pair[1] == 'of':
    return pair[0], position + 2
  return None, position


def render_sentence(parsed: ParsedSentence) -> tuple[str, ...]:
  """Returns the words of the sentence; the inverse of `parse`."""
  return _render(parsed)[0]


def find_phrases(parsed: ParsedSentence) -> tuple[tuple[int, ...], ...]:
  """Returns the token positions of the scene graph of a sentence.

  Returns:
    One tuple of positions per phrase, counted from 0 without [CLS]: first
    the noun of every mention, then every adjective, then every relation,
    without its "of".
  """
  return _render(parsed)[1]


def phrase_kind(first_word: str) -> int:
  """Returns a phrase's kind by its first word; see data/phrases.py."""
  if first_word in SHAPES:
    return phrases.OBJECT
  is_adjective = first_word in COLORS + SIZES
  return phrases.ATTRIBUTE if is_adjective else phrases.RELATION


def _render(
  parsed: ParsedSentence,
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
  words: list[str] = [] if parsed.relations else ['there', 'is']
  nouns: list[tuple[int, ...]] = []
  adjectives: list[tuple[int, ...]] = []
  relations: list[tuple[int, ...]] = []
  for number, mention in enumerate(parsed.mentions):
    if number % 2 and parsed.relations:
      relations.append((len(words),))
      words += [parsed.relations[number // 2], 'of']
    elif number:
      words.append('and')
    words.append('a')
    for adjective in (mention.size, mention.colour):
      if adjective is not None:
        adjectives.append((len(words),))
        words.append(adjective)
    nouns.append((len(words),))
    words.append(mention.shape)
  return tuple(words), tuple(nouns + adjectives + relations)
