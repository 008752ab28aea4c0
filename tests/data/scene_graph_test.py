"""Scene graphs: each rule on a sentence of its own, and odd captions."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax.data import captions, phrases
from tagsdc_jax.data.scene_graph import parsing, repairs
from tagsdc_jax.data.scene_graph.graph import (
  UNKNOWN,
  Phrase,
  SceneGraph,
  to_positions,
)
from tagsdc_jax.errors import UserError

needs_spacy = pytest.mark.skipif(
  not (
    importlib.util.find_spec('spacy')
    and importlib.util.find_spec(parsing.MODEL)
  ),
  reason='needs the extra [scenegraph]',
)

# Sentence; objects; attributes as "attribute object"; relations as
# "subject | predicate | object".
RULES = {
  'plain': (
    'A brown dog runs across the wet grass.',
    ['dog', 'grass'],
    ['brown dog', 'wet grass'],
    ['dog | runs across | grass'],
  ),
  'has': (
    'The woman has a red bag.',
    ['woman', 'bag'],
    ['red bag'],
    ['woman | has | bag'],
  ),
  'has_as_auxiliary': (
    'the bird has beak',
    ['bird', 'beak'],
    [],
    ['bird | has | beak'],
  ),
  'is_on': (
    'The cup is on a table.',
    ['cup', 'table'],
    [],
    ['cup | on | table'],
  ),
  'is_color': (
    'The roof of the house is red and gray.',
    ['roof', 'house'],
    ['red roof', 'gray roof'],
    ['roof | of | house'],
  ),
  'modal_passive': (
    'A horse can be seen by two children.',
    ['horse', 'children'],
    ['two children'],
    ['children | seen | horse'],
  ),
  'reduced_relative': (
    'A ball thrown by a boy hits the window.',
    ['ball', 'boy', 'window'],
    [],
    ['boy | thrown | ball', 'ball | hits | window'],
  ),
  'participle_and_preposition': (
    'A jar filled with sand is next to a rope attached to a kite.',
    ['jar', 'sand', 'rope', 'kite'],
    [],
    [
      'jar | filled with | sand',
      'jar | next to | rope',
      'rope | attached to | kite',
    ],
  ),
  'several_words': (
    'A cat sleeps on top of a car in front of the barn.',
    ['cat', 'car', 'barn'],
    [],
    ['cat | sleeps on top of | car', 'cat | sleeps in front of | barn'],
  ),
  'side_of': (
    'Bikes parked on the side of the road.',
    ['Bikes', 'road'],
    [],
    ['Bikes | parked on side of | road'],
  ),
  'pronouns': ('It is next to her and he is eating it.', [], [], []),
  'shared_subject': (
    'A man sits on a bench and reads a book.',
    ['man', 'bench', 'book'],
    [],
    ['man | sits on | bench', 'man | reads | book'],
  ),
  'two_subjects': (
    'A man and a woman wearing hats ride a horse.',
    ['man', 'woman', 'hats', 'horse'],
    [],
    [
      'man | wearing | hats',
      'woman | wearing | hats',
      'man | ride | horse',
      'woman | ride | horse',
    ],
  ),
  'shared_attributes': (
    'A black and white cow in a field.',
    ['cow', 'field'],
    ['black cow', 'white cow'],
    ['cow | in | field'],
  ),
  'compound': (
    'A tennis racket beside a metal pole',
    ['tennis racket', 'pole'],
    ['metal pole'],
    ['racket | beside | pole'],
  ),
  'attribute_of_compound': (
    'Two boys sit on a green park bench.',
    ['boys', 'park bench'],
    ['Two boys', 'green bench'],
    ['boys | sit on | bench'],
  ),
  'of': ('The legs of a chair.', ['legs', 'chair'], [], ['legs | of | chair']),
  'measure': (
    'A group of tourists walk through a market.',
    ['tourists', 'market'],
    ['group of tourists'],
    ['tourists | walk through | market'],
  ),
  'possessive': (
    "The girl's coat is on the floor.",
    ['girl', 'coat', 'floor'],
    [],
    ["girl | 's | coat", 'coat | on | floor'],
  ),
  'intransitive': (
    'A smiling baby is sleeping.',
    ['baby'],
    ['smiling baby', 'sleeping baby'],
    [],
  ),
  'relative_object': (
    'the boat that a man is pulling',
    ['boat', 'man'],
    [],
    ['man | pulling | boat'],
  ),
  'stranded_preposition': (
    'the table the vases are on',
    ['table', 'vases'],
    [],
    ['vases | on | table'],
  ),
  'with_state': (
    'A dog runs with its mouth open.',
    ['dog', 'mouth'],
    ['open mouth'],
    ['dog | runs with | mouth'],
  ),
  'carrier': (
    'A child in a coat standing on a box.',
    ['child', 'coat', 'box'],
    [],
    ['child | in | coat', 'child | standing on | box'],
  ),
  'covered': (
    'Two men climb a snow covered hill.',
    ['men', 'snow', 'hill'],
    ['Two men', 'covered hill'],
    ['men | climb | hill', 'snow | covered | hill'],
  ),
  'there_is': (
    'There are two cars parked along the street.',
    ['cars', 'street'],
    ['two cars'],
    ['cars | parked along | street'],
  ),
  'no_article': (
    'woman holding kite',
    ['woman', 'kite'],
    [],
    ['woman | holding | kite'],
  ),
  'hyphens': (
    'A boy in a t-shirt rides a merry-go-round.',
    ['boy', 't-shirt', 'merry-go-round'],
    [],
    ['boy | in | t-shirt', 'boy | rides | merry-go-round'],
  ),
  'prepositional_object_adjective': (
    'A woman with a cast on her arm painting a fence white.',
    ['woman', 'cast', 'arm', 'fence'],
    ['white fence'],
    ['woman | with | cast', 'cast | on | arm', 'woman | painting | fence'],
  ),
}


def _read(graph):
  at = lambda span: graph.text[slice(*span)]
  return (
    [graph.words(p) for p in graph.of_kind(phrases.OBJECT)],
    [
      f'{graph.words(p)} {at(p.heads[0])}'
      for p in graph.of_kind(phrases.ATTRIBUTE)
    ],
    [
      f'{at(p.heads[0])} | {graph.words(p)} | {at(p.heads[2])}'
      for p in graph.of_kind(phrases.RELATION)
    ],
  )


def _parsed(text):
  return next(parsing.parse([text]))


@needs_spacy
@pytest.mark.parametrize('rule', RULES)
def test_rule(rule):
  text, objects, attributes, relations = RULES[rule]
  found = _read(_parsed(text))
  assert found[0] == objects
  assert sorted(found[1]) == sorted(attributes)
  assert sorted(found[2]) == sorted(relations)


@needs_spacy
def test_phrases_are_in_order_and_an_attribute_lacks_its_object():
  graph = _parsed('A red ball on the wooden table')
  assert [p.kind for p in graph.phrases] == [
    phrases.OBJECT,
    phrases.OBJECT,
    phrases.ATTRIBUTE,
    phrases.ATTRIBUTE,
    phrases.RELATION,
  ]
  assert [p.spans for p in graph.phrases] == [
    ((6, 10),),
    ((25, 30),),
    ((2, 5),),
    ((18, 24),),
    ((11, 13),),
  ]
  assert graph.phrases[2].heads == ((6, 10), (2, 5))
  assert graph.phrases[4].heads == ((6, 10), (11, 13), (25, 30))


ODD = (
  '',
  ' ',
  '.',
  '\n\t',
  '!!! ???',
  'He looks up.',
  'and of the',
  '  Two   dogs\trun  on\nsand ',
  'Ein café, naïve: Ünïcödé 😀 dogs on a 漢字 sign — “big”',
  '\ud800 lone',
  '<b>dog</b> &amp; http://example.org/a_b?c=d',
  'dog ' * 400,
  'a man and ' * 150,
  'who sees a man ' * 120,
  'x' * 3000,
  'A DOG RUNS ON GRASS',
  'ﬁsh İn a bowl',
)


@needs_spacy
@pytest.mark.parametrize('text', ODD, ids=range(len(ODD)))
def test_odd_captions(text):
  graph = _parsed(text)
  assert graph.text == text
  for phrase in graph.phrases:
    for start, end in (*phrase.spans, *phrase.heads):
      assert 0 <= start < end <= len(text)
      assert text[start:end].strip() == text[start:end] != ''
  for fallback in parsing.function_words(text).phrases:
    ((start, end),) = fallback.spans
    assert text[start:end].strip() == text[start:end] != ''


@needs_spacy
def test_spaces_do_not_shift_spans():
  graph = _parsed('  Two   dogs\trun  on\nsand ')
  assert _read(graph)[0] == ['dogs', 'sand']
  assert _read(graph)[2] == ['dogs | run on | sand']


@needs_spacy
def test_the_rest_of_a_long_text_has_no_phrases():
  text = 'a dog runs on sand . ' * 100
  graph = _parsed(text)
  last = max(end for p in graph.phrases for _, end in p.spans)
  assert 900 < last <= parsing.MAX_CHARACTERS


@needs_spacy
def test_graphs_do_not_depend_on_batches():
  texts = [text for text, *_ in RULES.values()] + [*ODD]
  alone = [_parsed(text) for text in texts]
  for batch_size in (1, 7, 1000):
    assert list(parsing.parse(texts, batch_size)) == alone
  assert list(parsing.parse(reversed(texts), 5)) == alone[::-1]
  assert list(parsing.parse([])) == []


@needs_spacy
def test_texts_are_read_as_they_are_needed():
  def endless():
    while True:
      yield 'a dog on sand'

  assert _read(next(parsing.parse(endless(), 4)))[0] == ['dog', 'sand']


@needs_spacy
def test_coarse_tags_are_those_of_the_models_own_component():
  # Ours is faster; where the rules look, it must say the same.
  import spacy

  nlp = spacy.load(parsing.MODEL)
  for text, *_ in RULES.values():
    doc = nlp(parsing.to_sentence(text)[0])
    expected = [t.pos_ for t in doc]
    repairs.tag(doc)
    for token, coarse in zip(doc, expected, strict=True):
      if coarse in ('NOUN', 'PROPN', 'ADJ', 'NUM', 'DET'):
        assert token.pos_ == coarse, (text, token)


def test_to_sentence():
  assert parsing.to_sentence('Woman in red') == ('the woman in red.', 4)
  assert parsing.to_sentence('A dog .') == ('a dog .', 0)
  assert parsing.to_sentence('Two dogs!') == ('two dogs!', 0)
  assert parsing.to_sentence('') == ('.', 0)


def test_fallback():
  graph = parsing.function_words("A dog's t-shirt is on the 2 red cars .")
  assert [graph.words(p) for p in graph.phrases] == [
    "dog's",
    't-shirt',
    'on',
    '2',
    'red',
    'cars',
  ]
  assert {p.kind for p in graph.phrases} == {UNKNOWN}
  assert parsing.function_words('it is the').phrases == ()


PIECES = (
  *('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '!', '.', "'", 's'),
  *('a', 'on', 'next', 'to', 'snow', '##board', '##er', 'red', '##dish'),
  *('bench', 'sits', 'the', 'cafe', 't', '-', 'shirt'),
)


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
  path = tmp_path_factory.mktemp('vocabulary') / 'vocab.txt'
  path.write_text(''.join(f'{piece}\n' for piece in PIECES), 'utf-8')
  return captions.load_tokenizer(path)


def _offsets(text, tokenizer):
  token_ids, offsets = captions.tokenize_with_offsets(text, tokenizer)
  assert token_ids.dtype == np.int32
  assert token_ids.tolist() == captions.tokenize(text, tokenizer).tolist()
  return offsets


def test_offsets(tokenizer):
  text = 'A snowboarder: Café.'
  assert [text[a:b] for a, b in _offsets(text, tokenizer)] == [
    'A',
    'snow',
    'board',
    'er',
    ':',
    'Café',
    '.',
  ]
  token_ids, offsets = captions.tokenize_with_offsets('  ', tokenizer)
  assert token_ids.shape == (0,) and offsets == ()


@needs_spacy
def test_positions(tokenizer):
  text = 'A snowboarder sits next to the reddish bench.'
  #       0 1    2    3  4    5    6  7   8  9    10   11
  offsets = _offsets(text, tokenizer)
  graph = _parsed(text)
  found, kinds = to_positions(graph, offsets)
  assert found == ((1, 2, 3), (10,), (8, 9), (4, 5, 6))
  assert kinds == (1, 1, 2, 3)
  # Beyond the cut: the bench; what describes it is dropped only if it is.
  found, kinds = to_positions(graph, offsets, max_tokens=9)
  assert found == ((1, 2, 3), (4, 5, 6))
  assert kinds == (1, 3)
  assert to_positions(graph, offsets[:2]) == (((1,),), (1,))
  assert to_positions(graph, ()) == ((), ())


def test_positions_by_hand():
  # "ab cd ef" as the pieces a, ##b, cd; "ef" has none.
  offsets = ((0, 1), (1, 2), (3, 5))
  phrase = lambda *spans: Phrase(phrases.OBJECT, spans)
  graph = SceneGraph(
    'ab cd ef',
    (
      phrase((0, 2)),
      phrase((3, 5), (0, 1)),
      phrase((0, 2), (6, 8)),
      phrase((1, 4)),
    ),
  )
  assert to_positions(graph, offsets)[0] == ((0, 1), (0, 2), (1, 2))


def test_positions_of_unknown_kind(tokenizer):
  text = 'a red bench'
  found, kinds = to_positions(
    parsing.function_words(text), _offsets(text, tokenizer)
  )
  assert found == ((1,), (2,))
  assert kinds == ()


@pytest.mark.parametrize('missing', ['spacy', 'model'])
def test_missing_extra_is_one_line(monkeypatch, missing):
  # As in a process that has not loaded the model.
  monkeypatch.setattr(parsing, '_model', parsing._model.__wrapped__)
  if missing == 'spacy':
    monkeypatch.setitem(sys.modules, 'spacy', None)
  else:
    pytest.importorskip('spacy')
    monkeypatch.setattr(parsing, 'MODEL', 'no_such_model')
  with pytest.raises(UserError) as error:
    next(parsing.parse(['a dog']))
  assert re.fullmatch(
    'scene graphs need spaCy and its English model .*, got: .*; '
    r'run pip install "tagsdc_jax\[scenegraph\]"',
    str(error.value),
  )


def test_annotations_are_well_formed():
  path = Path(__file__).with_name('scene_graph_annotations.json')
  annotated = json.loads(path.read_text('utf-8'))['captions']
  assert len(annotated) == 100
  for caption_id, gold in annotated.items():
    assert re.fullmatch(r'\w+\.jpg#[0-4]', caption_id)
    objects = set(gold['objects'])
    assert len(objects) == len(gold['objects']) > 0
    for word, of in gold['attributes']:
      assert set(of) <= objects and word not in of
    for subjects, predicate, other in gold['relations']:
      assert predicate and {*subjects, other} <= objects
