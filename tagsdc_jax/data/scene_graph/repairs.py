"""Coarse tags, and repairs of what the parser often gets wrong in captions."""

from typing import Any

Token = Any
Doc = Any

# Penn Treebank tags to the coarse tags of Universal Dependencies, as far as
# the rules use them. Faster than the model's own component.
_COARSE = {
  'AFX': 'ADJ',
  'CC': 'CCONJ',
  'CD': 'NUM',
  'DT': 'DET',
  'EX': 'PRON',
  'IN': 'ADP',
  'JJ': 'ADJ',
  'JJR': 'ADJ',
  'JJS': 'ADJ',
  'MD': 'AUX',
  'NN': 'NOUN',
  'NNP': 'PROPN',
  'NNPS': 'PROPN',
  'NNS': 'NOUN',
  'PDT': 'DET',
  'POS': 'PART',
  'PRP': 'PRON',
  'PRP$': 'PRON',
  'RB': 'ADV',
  'RBR': 'ADV',
  'RBS': 'ADV',
  'RP': 'ADP',
  'TO': 'PART',
  'VB': 'VERB',
  'VBD': 'VERB',
  'VBG': 'VERB',
  'VBN': 'VERB',
  'VBP': 'VERB',
  'VBZ': 'VERB',
  'WDT': 'PRON',
  'WP': 'PRON',
  'WP$': 'PRON',
  'WRB': 'ADV',
}
_SINGULAR = ('a', 'an')
_NOUNS = ('NOUN', 'PROPN')


def tag(doc: Doc) -> None:
  """Sets the coarse tag of each word."""
  for token in doc:
    coarse = _COARSE.get(token.tag_, 'X')
    if token.dep_ in ('aux', 'auxpass') and coarse == 'VERB':
      coarse = 'AUX'
    elif token.dep_ == 'mark' and coarse == 'ADP':
      coarse = 'SCONJ'
    token.pos_ = coarse


def repair(doc: Doc) -> None:
  """Mends tags and dependencies in place. Each rule names its example."""
  for token in doc:
    if token.pos_ == 'VERB':
      _name_verb(token)
  for token in doc:
    if token.pos_ in (*_NOUNS, 'VERB'):
      _free_verb(doc, token)
    if token.pos_ == 'ADJ' and token.dep_ in ('pobj', 'dobj'):
      _join_colors(token)
    if token.dep_ == 'npadvmod' and token.pos_ in _NOUNS:
      _name_subject(token)
    if token.dep_ == 'aux' and token.lower_ in ('has', 'have', 'had'):
      _have(token)


def _name_verb(token: Token) -> None:
  """Tags a verb with an article as a noun: "the side windows on a bus"."""
  if any(c.dep_ == 'det' and c.tag_ == 'DT' for c in token.lefts) and not any(
    c.dep_ in ('nsubj', 'nsubjpass', 'aux', 'auxpass') for c in token.children
  ):
    token.pos_ = 'NOUN'


def _free_verb(doc: Doc, token: Token) -> None:
  """Undoes a compound that is a noun and its verb.

  "a zebra grazing on grass", "a girl in a bikini jumping", where the verb ends
  in -ing and something follows it; "a shepherd bounds through the grass",
  where a plural would contradict the article.
  """
  if token.i == 0 or token.i + 1 >= len(doc):
    return
  left = doc[token.i - 1]
  if left.head.i != token.i or left.dep_ not in (
    'compound',
    'npadvmod',
    'nmod',
    'amod',
  ):
    return
  if left.pos_ not in _NOUNS:
    return
  follows = doc[token.i + 1]
  if token.text.endswith('ing') and len(token.text) > 4:
    if follows.pos_ not in ('ADP', 'DET', 'PART', 'NOUN', 'ADV', 'ADJ'):
      return
    if token.dep_ in ('compound', 'amod', 'nmod') and follows.pos_ in _NOUNS:
      return
  elif not (
    token.tag_ == 'NNS'
    and any(c.lower_ in _SINGULAR and c.dep_ == 'det' for c in token.lefts)
  ):
    return
  for child in list(token.lefts):
    if child.i != left.i:
      child.head = left
  left.head = token.head if token.head.i != token.i else left
  left.dep_ = token.dep_
  if left.head.i == left.i:
    left.dep_ = 'ROOT'
  token.head, token.dep_, token.pos_ = left, 'acl', 'VERB'
  token.tag_ = 'VBG' if token.text.endswith('ing') else 'VBZ'
  # In "a girl in a bikini jumping" it is the girl who jumps.
  top = left
  while top.dep_ == 'pobj' and top.head.head.pos_ in _NOUNS:
    top = top.head.head
  token.head = top


def _name_subject(token: Token) -> None:
  """Makes a noun right before a verb its subject: "a snow covered hill"."""
  verb = token.head
  if (
    verb.i == token.i + 1
    and verb.pos_ == 'VERB'
    and verb.dep_ != 'amod'
    and not any(c.dep_ in ('nsubj', 'nsubjpass') for c in verb.children)
  ):
    token.dep_ = 'nsubj'


def _have(token: Token) -> None:
  """Makes "has" a verb where it was an auxiliary: "a bird has beak"."""
  noun = token.head
  if noun.pos_ not in _NOUNS:
    return
  token.head = noun.head if noun.head.i != noun.i else token
  token.dep_, token.pos_ = noun.dep_, 'VERB'
  for child in list(noun.lefts):
    if child.dep_ == 'nsubj':
      child.head = token
  noun.head, noun.dep_ = token, 'dobj'


def _join_colors(token: Token) -> None:
  """Makes the adjectives of "in red and blue trunks" modify one noun."""
  for child in token.children:
    if child.dep_ == 'conj' and child.pos_ in _NOUNS:
      has_adjective = any(
        c.dep_ in ('amod', 'compound') and c.i > token.i for c in child.lefts
      )
      has_article = any(c.dep_ in ('det', 'poss') for c in child.lefts)
      if has_adjective and not has_article:
        child.head, child.dep_ = token.head, token.dep_
        token.head, token.dep_ = child, 'amod'
        return
