"""Who does what: subjects and objects of the verbs of a sentence."""

from typing import Any

from tagsdc_jax.data.scene_graph.nouns import Nouns, is_noun

Token = Any

_SUBJECTS = ('nsubj', 'nsubjpass')
_BE = ('be', 'is', 'are', 'was', 'were', 'been', 'being', 'am', "'s", "'re")
_RELATIVE = ('that', 'which', 'who', 'whom')
# Clauses that borrow the subject of the clause above.
_BORROWS = (
  'advcl',
  'xcomp',
  'ccomp',
  'conj',
  'parataxis',
  'dep',
  'pcomp',
  'prep',
  'aux',
)
# What stands between who acts and what they have with them.
_CARRIES = ('with', 'in', 'at')
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
    passed = []
    found: tuple[int, ...] | None = None
    # A loop, as a text may chain more verbs than Python nests calls.
    while found is None:
      passed.append(verb.i)
      found = self._subjects.get(verb.i)
      if found is None:
        found = self._own_subjects(verb)
      if found is None:
        above = self._above(verb)
        if isinstance(above, tuple):
          found = above
        else:
          verb = above
    self._subjects.update(dict.fromkeys(passed, found))
    return found

  def _own_subjects(self, verb: Token) -> tuple[int, ...] | None:
    """Returns the subjects in a verb's own clause; None: look above."""
    own = [c for c in verb.children if c.dep_ in _SUBJECTS]
    if (place := self.left_behind(verb)) is not None:
      own = [c for c in own if c.i != place.i]
    # "Three dogs, two cats are sitting": each may be a subject of its own.
    found = [i for subject in own for i in self._nouns.all_of(subject)]
    if found:
      return tuple(dict.fromkeys(found))
    if any(c.dep_ == 'expl' for c in verb.children):  # "there is"
      there = [c for c in verb.children if c.dep_ in ('attr', 'dobj')]
      return tuple(i for c in there for i in self._nouns.all_of(c))
    if own and own[0].lower_ in _RELATIVE and verb.dep_ == 'relcl':
      return self._nouns.of(verb.head)
    if own and own[0].lower_ in ('it', 'there'):
      return ()
    noun = circumstance(verb)
    return None if own or noun is None else self._nouns.of(noun)

  def _above(self, verb: Token) -> tuple[int, ...] | Token:
    """Returns the subjects, or the verb whose subjects they are."""
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
    return head if is_verb(head) else ()

  def modified_by_clause(self, verb: Token) -> tuple[int, ...]:
    """Returns the objects that a participle or relative clause is about."""
    head = verb.head
    if verb.dep_ == 'acl':
      head = carrier(verb)
    found = [i for i in self._nouns.all_of(head) if i < verb.i]
    # "a man and a woman wearing hats"
    while head.dep_ == 'conj' and is_noun(head.head) and verb.dep_ == 'acl':
      head = head.head
      found = [*self._nouns.of(head), *found]
    return tuple(dict.fromkeys(found))

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

  def left_behind(self, verb: Token) -> Token | None:
    """Returns the noun that a caption names before its clause, or None.

    As "table" of "the table the vases are on".
    """
    own = [c for c in verb.children if c.dep_ in _SUBJECTS]
    if len(own) != 2 or not all(map(self._nouns.of, own)):
      return None
    between = verb.doc[own[0].i + 1 : own[1].i]
    is_listed = any(t.dep_ in ('punct', 'cc') for t in between)
    return None if is_listed or not _strands(verb) else own[0]

  def gap(self, verb: Token) -> bool:
    """Returns whether the noun of a relative clause is an object in it.

    As in "the boat that a man is pulling" and "the table the vases are on".
    """
    return (
      verb.dep_ == 'relcl'
      and not (is_be(verb) and not _strands(verb))
      and not any(c.dep_ == 'mark' for c in verb.children)
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
  """Returns whether a preposition lacks its noun: "on" of "they sit on"."""
  return any(
    c.pos_ == 'ADP'
    and c.i > verb.i
    and c.dep_ in ('prep', 'advmod', 'prt')
    and not any(True for _ in c.children)
    for c in verb.children
  ) or any(
    c.dep_ == 'prep' and any(x.lower_ in _RELATIVE for x in c.children)
    for c in verb.children
  )


def circumstance(token: Token) -> Token | None:
  """Returns the noun that a word after "with" and a noun describes, or None.

  As in "with its mouth open", "with arms raised", "with his tongue hanging
  out". Of "with an umbrella standing", no: the umbrella does not stand.
  """
  if token.i == 0 or token.pos_ not in ('ADJ', 'VERB'):
    return None
  noun = token.doc[token.i - 1]
  if not is_noun(noun) or noun.dep_ != 'pobj' or noun.head.lower_ != 'with':
    return None
  owned = any(c.dep_ == 'poss' for c in noun.children)
  if token.pos_ == 'ADJ' or token.tag_ == 'VBN' or owned:
    return noun
  return None


def carrier(verb: Token) -> Token:
  """Returns the noun that a participle behind another noun is about.

  Of "a child with an umbrella standing on a box" the child, not the umbrella.
  """
  noun = verb.head
  if (
    verb.tag_ == 'VBG'
    and noun.i < verb.i
    and noun.dep_ == 'pobj'
    and noun.head.lower_ in _CARRIES
    and is_noun(noun.head.head)
  ):
    return noun.head.head
  return noun
