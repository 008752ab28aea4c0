"""Finds objects, attributes and relations in a dependency parse."""

from collections.abc import Iterable, Sequence
from typing import Any

from tagsdc_jax.data import phrases
from tagsdc_jax.data.scene_graph import nouns as nouns_lib
from tagsdc_jax.data.scene_graph import words
from tagsdc_jax.data.scene_graph.clauses import (
  Clauses,
  circumstance,
  is_be,
  is_passive,
  is_verb,
  particles,
)
from tagsdc_jax.data.scene_graph.graph import Phrase, Span
from tagsdc_jax.data.scene_graph.nouns import coordinated
from tagsdc_jax.data.scene_graph.prepositions import (
  Preposition,
  find_prepositions,
)

Token = Any
Doc = Any


def find_phrases(doc: Doc, added: int = 0) -> tuple[Phrase, ...]:
  """Returns the phrases of a parsed text.

  Args:
    doc: spaCy's Doc, with tags and dependencies.
    added: number of characters before the text that are not the caption's.
  Returns:
    Objects, attributes, relations, each in the order of the text.
  """
  found = _Finder(doc)
  place = lambda index: _spans([doc[index]], added)[0]
  found.find_relations()
  found.find_attributes()
  objects = [
    Phrase(phrases.OBJECT, _spans(name, added), (place(i),))
    for i, name in sorted(found.nouns.objects.items())
  ]
  attributes = [
    Phrase(phrases.ATTRIBUTE, _spans(tokens, added), (place(noun), place(word)))
    for (word, noun), tokens in sorted(found.attributes.items())
  ]
  relations = [
    Phrase(
      phrases.RELATION,
      _spans(tokens, added),
      (place(subject), place(tokens[-1].i), place(other)),
    )
    for (_, subject, other), tokens in sorted(found.relations.items())
  ]
  return (*objects, *attributes, *relations)


class _Finder:
  """Applies the rules to one sentence."""

  def __init__(self, doc: Doc) -> None:
    self._doc = doc
    self._prepositions = find_prepositions(doc)
    self._places = frozenset(t.i for p in self._prepositions for t in p.tokens)
    self.nouns = nouns_lib.find_nouns(doc, self._places)
    self._clauses = Clauses(self.nouns)
    # (word, object) -> words; (place, subject, object) -> words.
    self.attributes: dict[tuple[int, int], tuple[Token, ...]] = {}
    self.relations: dict[tuple[int, int, int], tuple[Token, ...]] = {}
    self._used: set[int] = set()  # Verbs that are part of a relation.

  def find_relations(self) -> None:
    for token in self._doc:
      if is_verb(token):
        self._verb(token)
      elif token.dep_ == 'poss':
        mark = [c for c in token.children if c.dep_ == 'case']
        self._relate(self.nouns.all_of(token), mark, self.nouns.of(token.head))
    for preposition in self._prepositions:
      self._preposition(preposition)

  def _verb(self, verb: Token) -> None:
    if verb.dep_ in ('aux', 'auxpass'):
      return
    covered = nouns_lib.modified(verb)
    if covered is not None:
      # "a snow covered roof"
      for child in verb.children:
        if child.i < verb.i and nouns_lib.is_noun(child):
          self.nouns.objects.setdefault(child.i, (child,))
          self._relate((child.i,), [verb], self.nouns.of(covered))
      return
    predicate = [verb, *particles(verb)]
    self._relate(
      self._clauses.subjects(verb), predicate, self._clauses.objects(verb)
    )
    if is_be(verb):
      for child in verb.children:
        if child.dep_ == 'attr' and not any(
          c.dep_ == 'expl' for c in verb.children
        ):
          self._relate(
            self._clauses.subjects(verb), predicate, self.nouns.all_of(child)
          )

  def _preposition(self, preposition: Preposition) -> None:
    tokens, head = preposition.tokens, preposition.head
    if head is None or tokens[0].i in self.nouns.measures.values():
      return
    others = tuple(
      i for noun in preposition.governed for i in self.nouns.all_of(noun)
    )
    before: list[Token] = []
    # "far from", "close to", "looking out over"
    while head.pos_ in ('ADV', 'ADP', 'ADJ', 'SCONJ', 'PART') and (
      head.head.i != head.i and not self.nouns.of(head)
    ):
      if head.i < tokens[0].i:
        before.insert(0, head)
      head = head.head
    predicate = [*before, *tokens]
    if is_verb(head):
      if not others and self._clauses.gap(head):
        others = self.nouns.of(head.head)
      subjects = self._clauses.subjects(head) or self._clauses.objects(head)
      place = self._clauses.left_behind(head)
      if not others and place is not None:
        others = self.nouns.of(place)
      if tokens[0].lower_ == 'by' and is_passive(head):
        self._relate(others, [head], subjects)
        return
      if not is_be(head) and not self._clauses.objects(head):
        predicate = [head, *particles(head), *predicate]
      self._relate(subjects, predicate, others)
    else:
      subjects = tuple(i for i in self.nouns.all_of(head) if i < tokens[0].i)
      self._relate(subjects, predicate, others)

  def _relate(
    self,
    subjects: Iterable[int],
    predicate: Sequence[Token],
    others: Sequence[int],
  ) -> None:
    if not predicate:
      return
    tokens = tuple(dict.fromkeys(sorted(predicate, key=lambda t: t.i)))
    for subject in subjects:
      for other in others:
        if subject != other:
          self.relations.setdefault((tokens[0].i, subject, other), tokens)
          self._used |= {t.i for t in tokens}

  def find_attributes(self) -> None:
    for token in self._doc:
      if token.i in self._places:
        continue
      noun = nouns_lib.modified(token)
      if noun is not None and self._describes(token):
        self._attribute(token, self.nouns.of(noun))
      elif token.dep_ in ('acomp', 'oprd', 'attr') and is_verb(token.head):
        if token.pos_ in ('ADJ', 'NUM', 'VERB'):
          about = self._clauses.objects(token.head) or (
            self._clauses.subjects(token.head)
          )
          for word in coordinated(token):
            self._attribute(word, about)
      elif token.pos_ == 'ADJ' and any(
        c.dep_ == 'nsubj' for c in token.children
      ):
        # "with the background blurry"
        for child in token.children:
          if child.dep_ == 'nsubj':
            self._attribute(token, self.nouns.all_of(child))
      elif token.pos_ == 'ADJ' and token.dep_ in ('amod', 'acl', 'relcl'):
        self._attribute(token, self.nouns.of(token.head))
      elif token.pos_ == 'VERB' and token.i not in self._used:
        self._intransitive(token)
      elif (
        token.pos_ == 'ADJ'
        and token.dep_ == 'advcl'
        and (self._doc[token.i - 1].dep_ == 'dobj')
      ):
        # "painting a fence white"
        self._attribute(token, self.nouns.of(self._doc[token.i - 1]))
      elif token.pos_ == 'ADJ' and (noun := circumstance(token)) is not None:
        self._attribute(token, self.nouns.of(noun))
    for noun, of in self.nouns.measures.items():
      for other in self.nouns.stands_for[noun]:
        self.attributes.setdefault(
          (noun, other), (self._doc[noun], self._doc[of])
        )

  def _describes(self, token: Token) -> bool:
    if token.lower_ in words.POINTING | words.PRONOUNS - words.QUANTITIES:
      return False
    if nouns_lib.is_name(token):
      return nouns_lib.is_describing(token)
    return token.pos_ in ('ADJ', 'NUM', 'VERB', 'NOUN', 'PROPN', 'ADV')

  def _intransitive(self, verb: Token) -> None:
    """A verb that relates nothing says how its subject is: "smiling"."""
    if verb.dep_ in ('aux', 'auxpass', 'amod', 'compound', 'prep'):
      return
    if is_be(verb) or any(
      c.dep_ in ('xcomp', 'ccomp', 'acomp') for c in verb.children
    ):
      return
    tokens = (verb, *particles(verb))
    for subject in self._clauses.subjects(verb):
      self.attributes.setdefault((verb.i, subject), tokens)

  def _attribute(self, word: Token, about: Iterable[int]) -> None:
    if word.lower_ in words.POINTING:
      return
    # "light brown"
    shades = [
      c for c in word.lefts if c.pos_ == 'ADJ' and c.dep_ in ('amod', 'advmod')
    ]
    for noun in about:
      if noun != word.i:
        self.attributes.setdefault((word.i, noun), (*shades, word))


def _spans(tokens: Iterable[Token], added: int) -> tuple[Span, ...]:
  """Returns runs of characters; neighboring words are one run."""
  spans: list[Span] = []
  last = None
  for token in tokens:
    start = token.idx - added
    end = start + len(token.text)
    if last is not None and token.i == last + 1:
      spans[-1] = (spans[-1][0], end)
    else:
      spans.append((start, end))
    last = token.i
  return tuple(spans)
