"""Who does what: subjects and objects of the verbs of a sentence."""

from typing import Any

from tagsdc_jax.data.scene_graph import words
from tagsdc_jax.data.scene_graph.nouns import Nouns, coordinated, is_noun

Token = Any

_SUBJECTS = ('nsubj', 'nsubjpass')
_BE = frozenset("be is are was were been being am 's 're".split())
_RELATIVE = frozenset('that which who whom'.split())
# Clauses that borrow the subject of the clause above.
_BORROWS = frozenset(
  'advcl xcomp ccomp conj parataxis dep pcomp prep aux'.split()
)
_VERB = ('VERB', 'AUX')


def is_verb(token: Token) -> bool:
  """Returns whether a word is tagged as a verb or auxiliary."""
  return token.pos_ in _VERB


def is_be(token: Token) -> bool:
  """Returns whether a word is a form of "be"."""
  return token.lower_ in _BE and is_verb(token)


class Clauses:
  """Answers who is the subject of a verb, and what its objects are.

  Args:
    nouns: the sentence's objects. All answers are their indices.
  """

  def __init__(self, nouns: Nouns) -> None:
    self._nouns = nouns
    self._subjects: dict[int, tuple[int, ...]] = {}

  def subjects(self, verb: Token) -> tuple[int, ...]:
    """Returns the subjects: its own, a relative's noun, or the one above."""
    if verb.i not in self._subjects:
      self._subjects[verb.i] = ()  # Parses are trees, but see _above.
      self._subjects[verb.i] = self._find_subjects(verb)
    return self._subjects[verb.i]

  def _find_subjects(self, verb: Token) -> tuple[int, ...]:
    own = [c for c in verb.children if c.dep_ in _SUBJECTS]
    for subject in own:
      if found := self._nouns.all_of(subject):
        return found
    expletive = [c for c in verb.children if c.dep_ in ('attr', 'dobj')]
    if any(c.dep_ == 'expl' for c in verb.children):
      return tuple(i for c in expletive for i in self._nouns.all_of(c))
    if own and own[0].lower_ in _RELATIVE and verb.dep_ == 'relcl':
      return self._nouns.of(verb.head)
    if own and own[0].lower_ in ('it', 'there'):
      return ()
    return self._above(verb)

  def _above(self, verb: Token) -> tuple[int, ...]:
    head = verb.head
    if head.i == verb.i:
      return ()
    if verb.dep_ in ('acl', 'relcl'):
      return self.modified_by_clause(verb)
    if verb.dep_ not in _BORROWS:
      return ()
    while head.pos_ in ('ADP', 'SCONJ', 'ADV', 'ADJ') and head.head.i != head.i:
      head = head.head
    if is_noun(head):
      return self._nouns.all_of(head)
    return self.subjects(head) if is_verb(head) else ()

  def modified_by_clause(self, verb: Token) -> tuple[int, ...]:
    """Returns the objects that a participle or relative clause is about."""
    head, found = verb.head, []
    # "a man and a woman wearing hats"
    while True:
      found = [*self._nouns.of(head), *found]
      if head.dep_ != 'conj' or not is_noun(head.head):
        return tuple(dict.fromkeys(found))
      if not _is_subject(head) or verb.dep_ == 'relcl':
        return tuple(dict.fromkeys(found))
      head = head.head

  def objects(self, verb: Token) -> tuple[int, ...]:
    """Returns the direct objects, those of coordinated nouns among them."""
    found = [
      i
      for child in verb.children
      if child.dep_ in ('dobj', 'dative') and child.i > verb.i
      for i in self._nouns.all_of(child)
    ]
    if not found and self.gap(verb) and not _strands(verb):
      found = list(self._nouns.of(verb.head))
    return tuple(found)

  def gap(self, verb: Token) -> bool:
    """Returns whether the noun of a relative clause is an object in it.

    As in "the boat that a man is pulling" and "the table the vases are on".
    """
    return (
      verb.dep_ == 'relcl'
      and any(
        c.dep_ in _SUBJECTS and c.lower_ not in _RELATIVE for c in verb.children
      )
      and not any(c.dep_ == 'dobj' and is_noun(c) for c in verb.children)
    )


def is_passive(verb: Token) -> bool:
  """Returns whether a verb's subject is what it is done to."""
  if any(c.dep_ == 'auxpass' for c in verb.children):
    return True
  return verb.tag_ == 'VBN' and not any(
    c.dep_ in ('aux', 'dobj') for c in verb.children
  )


def particles(verb: Token) -> list[Token]:
  """Returns the words that belong to a verb: the "up" of "picks up"."""
  return [c for c in verb.children if c.dep_ == 'prt']


def _strands(verb: Token) -> bool:
  return any(
    c.dep_ == 'prep' and not any(True for _ in c.children)
    for c in verb.children
  )


def _is_subject(noun: Token) -> bool:
  while noun.dep_ == 'conj':
    noun = noun.head
  return noun.dep_ in ('nsubj', 'ROOT', 'nsubjpass', 'attr')
