"""Tests of the sentences: parser, writer, phrases, vocabulary."""

import itertools

import numpy as np
import pytest
import tokenizers

from tagsdc_jax.data.world import grammar
from tagsdc_jax.data.world.grammar import Mention, ParsedSentence
from tagsdc_jax.data.world.scenes import COLORS, SHAPES, SIZES


def random_sentence(rng):
  def pick(values):
    return values[rng.integers(len(values))]

  def mention():
    return Mention(pick(SHAPES), pick((None,) + COLORS), pick((None,) + SIZES))

  count = int(rng.integers(5))
  if count < 3:
    return ParsedSentence(tuple(mention() for _ in range(count + 1)))
  count -= 2
  return ParsedSentence(
    tuple(mention() for _ in range(2 * count)),
    tuple(pick(grammar.RELATIONS) for _ in range(count)),
  )


def test_parse_undoes_render():
  rng = np.random.default_rng(0)
  lengths = set()
  for _ in range(5000):
    parsed = random_sentence(rng)
    words = grammar.render_sentence(parsed)
    assert grammar.parse(words) == parsed
    assert len(grammar.find_phrases(parsed)) <= grammar.MAX_PHRASES
    lengths.add(len(words))
  assert min(lengths) == 4 and max(lengths) >= 20


def test_parse_accepts_nothing_but_the_grammar():
  # Every sentence of up to 6 words over a small set of words, by rule.
  words = ('a', 'circle', 'north', 'of', 'there', 'is')
  mentions = {('a', 'circle')}
  expected = {('there', 'is') + one for one in mentions}
  expected |= {
    one + ('north', 'of') + two for one in mentions for two in mentions
  }
  for length in range(7):
    for candidate in itertools.product(words, repeat=length):
      is_sentence = grammar.parse(candidate) is not None
      assert is_sentence == (candidate in expected), candidate


def test_shuffled_sentences_parse_only_if_they_read_back():
  rng = np.random.default_rng(1)
  rejected = 0
  for _ in range(2000):
    words = grammar.render_sentence(random_sentence(rng))
    shuffled = tuple(words[at] for at in rng.permutation(len(words)))
    parsed = grammar.parse(shuffled)
    rejected += parsed is None
    assert parsed is None or grammar.render_sentence(parsed) == shuffled
  assert rejected > 1900


@pytest.mark.parametrize(
  'text',
  [
    '',
    'a',
    'a red',
    'red circle',
    'a red circle',
    'a red large circle north of a square',
    'a red blue circle north of a square',
    'a circle west a square',
    'a circle of north a square',
    'a circle west of',
    'a circle west of a square and',
    'a circle west of a square and a star',
    'a circle north of a square north of a star',
    'a circle north of a star and there is a cross',
    'there is',
    'there is a circle and',
    'there is a circle north of a star',
    'there is a circle and a star and a cross and a square',
    'a circle north of a star and a star north of a cross and a cross north '
    'of a star',
    'a [MASK] circle north of a star',
    'a circle north of a star [SEP]',
  ],
)
def test_parse_rejects(text):
  assert grammar.parse(text.split()) is None


def test_phrases_of_a_relation_sentence():
  words = 'a small red circle west of a star and a cross north of a blue square'
  parsed = grammar.parse(words.split())
  assert parsed.mentions[0] == Mention('circle', 'red', 'small')
  assert parsed.relations == ('west', 'north')
  assert grammar.find_phrases(parsed) == (
    (3,),
    (7,),
    (10,),
    (15,),
    (1,),
    (2,),
    (14,),
    (4,),
    (11,),
  )


def test_phrases_of_an_existence_sentence():
  parsed = grammar.parse(
    ['there', 'is', 'a', 'red', 'circle', 'and', 'a', 'large', 'star']
  )
  assert grammar.find_phrases(parsed) == ((4,), (8,), (3,), (7,))


def test_ids_and_words():
  ids = grammar.to_ids(['a', 'red', 'unicorn'])
  assert ids.dtype == np.int32
  assert grammar.to_words(ids) == ('a', 'red', '[UNK]')
  vocabulary = grammar.VOCABULARY
  assert vocabulary.size == len(set(vocabulary.words)) == 30
  assert [
    vocabulary.words[at]
    for at in (
      vocabulary.pad,
      vocabulary.unk,
      vocabulary.cls,
      vocabulary.sep,
      vocabulary.mask,
    )
  ] == ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
  assert vocabulary.random_range == (5, 30)


def test_vocabulary_file_serves_a_wordpiece_tokenizer(tmp_path):
  path = tmp_path / 'vocab.txt'
  grammar.write_vocabulary_file(path)
  tokenizer = tokenizers.BertWordPieceTokenizer(str(path), lowercase=True)
  text = 'There is a small purple cross and a star'
  ids = tokenizer.encode(text).ids
  words = ['[CLS]', *text.lower().split(), '[SEP]']
  assert ids == grammar.to_ids(words).tolist()
