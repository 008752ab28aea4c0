"""Prepositions of one word or several, with what they govern."""

import dataclasses
from typing import Any

from tagsdc_jax.data.scene_graph import words

Token = Any
Doc = Any

_FIRST = frozenset(fixed[0] for fixed in words.PREPOSITIONS)
_PREPOSITION = ('prep', 'agent', 'dative')


@dataclasses.dataclass(frozen=True)
class Preposition:
  """One preposition.

  Attributes:
    tokens: its words, without "the" in "on the side of".
    head: the word that it belongs to, or None.
    governed: the words after it, without those coordinated with them.
  """

  tokens: tuple[Token, ...]
  head: Token | None
  governed: tuple[Token, ...]


def find_prepositions(doc: Doc) -> list[Preposition]:
  """Returns the prepositions of a sentence, in the order of the text."""
  found, used = [], set()
  tokens = list(doc)
  texts = [token.lower_ for token in tokens]
  start = 0
  while start < len(tokens):
    run = _several_words(tokens, texts, start)
    if run:
      found.append(_assembled(doc, run))
      used |= set(run)
      start = run[-1] + 1
    else:
      start += 1
  for token in tokens:
    if token.i not in used and _is_preposition(token):
      run = [token.i]
      # "from behind a tree"
      while not _objects(doc, run):
        follow = [
          c.i
          for c in doc[run[-1]].children
          if c.dep_ in (*_PREPOSITION, 'pcomp')
          and c.pos_ == 'ADP'
          and c.i == run[-1] + 1
          and c.i not in used
        ]
        if not follow:
          break
        run += follow[:1]
      used |= set(run)
      found.append(_assembled(doc, run))
  return sorted(found, key=lambda preposition: preposition.tokens[0].i)


def _is_preposition(token: Token) -> bool:
  if token.dep_ in _PREPOSITION and token.pos_ in ('ADP', 'SCONJ', 'ADV'):
    return True
  if token.pos_ != 'ADP':
    return False
  governs = any(c.dep_ == 'pobj' for c in token.children)
  # "the table the vases are on"
  ends = token.dep_ in ('advmod', 'prt') and not any(
    True for _ in token.children
  )
  return governs or ends


def _several_words(
  tokens: list[Token], texts: list[str], start: int
) -> list[int]:
  """Returns the words of the preposition that starts here, or none."""
  if texts[start] in _FIRST:
    for fixed in words.PREPOSITIONS:
      if tuple(texts[start : start + len(fixed)]) == fixed:
        return list(range(start, start + len(fixed)))
  if tokens[start].pos_ != 'ADP':
    return []
  # "in front of", "on the side of"
  for place in (start + 1, start + 2):
    if (
      texts[place : place + 2][1:] == ['of']
      and texts[place] in words.PLACES
      and (
        place == start + 1 or tokens[start + 1].pos_ in ('DET', 'ADJ', 'PRON')
      )
    ):
      return [start, place, place + 1]
  return []


def _objects(doc: Doc, run: list[int]) -> tuple[Token, ...]:
  found = [
    child
    for i in run
    for child in doc[i].children
    if child.i > run[-1] and child.dep_ in ('pobj', 'pcomp', 'dobj')
  ]
  # "with his arms crossed": the arms are the object.
  for child in list(found):
    if child.dep_ == 'pcomp':
      found += [c for c in child.children if c.dep_ in ('nsubj', 'nsubjpass')]
  return tuple(found)


def _assembled(doc: Doc, run: list[int]) -> Preposition:
  inside = set(range(run[0], run[-1] + 1))
  heads = [doc[i].head for i in run if doc[i].head.i not in inside]
  # Its own words may hang on each other in any order; what comes after it may
  # not be its head.
  left = [head for head in heads if head.i < run[0]] or [
    head
    for i, head in zip(run, [doc[i].head for i in run], strict=True)
    if head.i not in inside and head.pos_ in ('VERB', 'AUX')
  ]
  return Preposition(
    tuple(doc[i] for i in run), left[0] if left else None, _objects(doc, run)
  )
