"""Which words of a parsed sentence name objects, and which modify them."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from tagsdc_jax.data.scene_graph import words

# A token or a document of spaCy, which is an extra.
Token = Any
Doc = Any

_NOUN = ('NOUN', 'PROPN')
_MODIFIES = ('amod', 'nummod', 'compound', 'nmod', 'quantmod')
_NAMES = ('compound', 'nmod')


@dataclasses.dataclass(frozen=True)
class Nouns:
  """The objects of one sentence.

  Attributes:
    objects: index of each head word -> the object's words, compounds included.
    stands_for: index of each noun -> the objects that it stands for: itself
      and those coordinated with it, or what a measure noun measures.
    measures: index of each measure noun -> index of its "of".
  """

  objects: dict[int, tuple[Token, ...]]
  stands_for: dict[int, tuple[int, ...]]
  measures: dict[int, int]

  def of(self, token: Token) -> tuple[int, ...]:
    """Returns the objects that a noun stands for, without coordination."""
    return self.stands_for.get(token.i, ())

  def all_of(self, token: Token) -> tuple[int, ...]:
    """Returns the objects of a noun and of those coordinated with it."""
    return tuple(
      dict.fromkeys(i for noun in coordinated(token) for i in self.of(noun))
    )


def find_nouns(doc: Doc, places: frozenset[int]) -> Nouns:
  """Returns the objects of a sentence.

  Args:
    doc: parsed text.
    places: indices of nouns that are part of a preposition.
  """
  nouns = [t for t in doc if t.i not in places and _is_thing(t)]
  measures = {t.i: of for t in nouns if (of := _measured(t)) is not None}
  objects = {t.i: _name(t) for t in nouns if t.i not in measures}
  stands_for: dict[int, tuple[int, ...]] = {i: (i,) for i in objects}
  # From the right: "a pair of groups of boys".
  for i in sorted(measures, reverse=True):
    stands_for[i] = tuple(
      x
      for child in doc[measures[i]].children
      if child.dep_ in ('pobj', 'nummod')
      for noun in coordinated(child)
      for x in stands_for.get(noun.i, ())
    )
  # "a group of them" names a group.
  for i in [i for i in measures if not stands_for[i]]:
    objects[i], stands_for[i] = _name(doc[i]), (i,)
    del measures[i]
  return Nouns(objects, stands_for, measures)


def coordinated(token: Token) -> Iterator[Token]:
  """Yields a word and those coordinated with it to the right."""
  waiting = [token]
  while waiting:
    token = waiting.pop()
    yield token
    waiting += [
      child
      for child in reversed(list(token.rights))
      if child.dep_ == 'conj' or (child.dep_ == 'appos' and is_noun(child))
    ]


def modified(token: Token) -> Token | None:
  """Returns the noun that a word modifies from its left, or None.

  Of "a black and white dog" both "black" and "white" modify "dog".
  """
  while token.dep_ == 'conj' and token.head.i < token.i:
    end = token.i
    token = token.head
    if token.dep_ in _MODIFIES and token.head.i < end:
      return None
  noun = token.head
  if noun.pos_ == 'VERB' and noun.dep_ == 'amod' and token.pos_ == 'ADJ':
    noun = noun.head  # "red" of "a red colored wall"
  if token.dep_ in _MODIFIES and noun.pos_ in _NOUN:
    while is_name(noun):  # "green" of "a green park bench"
      noun = noun.head
    return noun
  return None


def is_noun(token: Token) -> bool:
  """Returns whether a word is tagged as a noun or name."""
  return token.pos_ in _NOUN


def is_name(token: Token) -> bool:
  """Returns whether a noun is the left part of a compound."""
  return (
    token.dep_ in _NAMES
    and token.head.i > token.i
    and is_noun(token.head)
    and is_noun(token)
  )


def is_describing(token: Token) -> bool:
  """Returns whether a word says what the noun to its right is like."""
  return token.lower_ in words.DESCRIBING and is_name(token)


def _is_thing(token: Token) -> bool:
  if token.lower_ in words.PRONOUNS or not any(map(str.isalnum, token.text)):
    return False
  if is_noun(token):
    return (
      token.dep_ != 'npadvmod'
      and not is_name(token)
      and ((noun := modified(token)) is None or noun.i < token.i)
    )
  # "a woman in red", but not "with its mouth open"
  return (
    token.pos_ == 'ADJ'
    and token.dep_ in ('pobj', 'dobj')
    and not any(
      other.dep_ == token.dep_ and other.i < token.i
      for other in token.head.rights
    )
  )


def _measured(token: Token) -> int | None:
  """Returns the index of the "of" of a measure noun, or None."""
  if token.lower_ not in words.MEASURES:
    return None
  return next(
    (c.i for c in token.children if c.lower_ == 'of' and c.i > token.i), None
  )


def _name(token: Token) -> tuple[Token, ...]:
  """Returns the words of an object: "tennis" and "racket"."""
  parts, waiting = [], [token]
  while waiting:
    parts.append(waiting.pop())
    waiting += [
      child
      for child in parts[-1].lefts
      if is_name(child) and not is_describing(child)
    ]
  return tuple(sorted(parts, key=lambda part: part.i))
