"""Counts of captions worked by hand."""

from collections import Counter

import numpy as np

from tagsdc_jax.data import dataset
from tagsdc_jax.data.phrases import ATTRIBUTE, OBJECT, RELATION
from tagsdc_jax.data.prepared.dataset import Picture
from tagsdc_jax.preparing import counting

WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'dog', '##gy', '.')
VOCABULARY = dataset.Vocabulary(9, 0, 1, 2, 3, 4, (5, 9), WORDS)


def _caption(tokens, phrases=(), kinds=(), text=''):
  return dataset.Caption(
    'c', 0, np.array(tokens, np.int32), phrases, text, kinds
  )


def _contents(*captions, regions=3):
  counts = counting.Contents()
  counts.add(Picture('p', '', 0, 0, regions, captions), VOCABULARY)
  return counts


def test_captions_regions_and_phrases_are_counted():
  counts = _contents(
    _caption([5, 6], ((1,),), (OBJECT,)),
    _caption([5, 6, 7], ((1, 2), (0,), (2,)), (OBJECT, RELATION, OBJECT)),
    _caption([5, 6]),
  )
  assert (counts.pictures, counts.captions, counts.bare) == (1, 3, 1)
  assert counts.tokens == {2: 2, 3: 1} and counts.regions == {3: 1}
  assert counts.phrases_of(OBJECT) == {0: 1, 1: 1, 2: 1}
  assert counts.phrases_of(RELATION) == {0: 2, 1: 1}
  assert counts.phrases_of(ATTRIBUTE) == {0: 3}


def test_phrases_of_unknown_kind_are_counted_as_such():
  counts = _contents(_caption([5, 6], ((0,), (1,))))
  assert counts.phrases == {0: Counter({2: 1})}


def test_sums_are_those_of_all_pictures():
  both = _contents(_caption([5, 6], ((1,),), (OBJECT,)), regions=2) + _contents(
    _caption([1], text='Ω'), _caption([5, 6], ((0,),), (ATTRIBUTE,))
  )
  assert (both.pictures, both.captions, both.bare) == (2, 3, 1)
  assert both.regions == {2: 1, 3: 1} and both.tokens == {1: 1, 2: 2}
  assert both.phrases_of(OBJECT) == {0: 2, 1: 1}
  assert both.unknown == 1 and both.unknown_words == {'ω': 1}


def test_unknown_words_are_found_behind_pieces_and_punctuation():
  found = counting.unknown_words(
    _caption([5, 6, 7, 1, 8], text='a doggy Halfpipe.'), VOCABULARY
  )
  assert found == ['halfpipe']


def test_words_between_spaces_are_tried_too():
  found = counting.unknown_words(
    _caption([5, 1], text='a (halfpipe)'), VOCABULARY
  )
  assert found == ['(halfpipe)']


def test_words_are_not_guessed():
  odd = _caption([5, 1, 8], text='a single sentence of many words')
  assert counting.unknown_words(odd, VOCABULARY) == []
  bare = dataset.Vocabulary(9, 0, 1, 2, 3, 4, (5, 9))
  known = _caption([5, 1], text='a halfpipe')
  assert counting.unknown_words(known, bare) == []
  # They are counted nevertheless.
  assert _contents(odd).unknown == 1 and not _contents(odd).unknown_words


def test_objects_precede_attributes_and_relations():
  caption = _caption(
    [5, 5, 5, 5], ((0, 1, 2), (1, 2), (2,)), (RELATION, ATTRIBUTE, OBJECT)
  )
  assert counting.winners(caption) == [0, 1, 2, None]


def test_of_one_kind_the_first_phrase_is_shown():
  caption = _caption([5, 5], ((0, 1), (1,)), (OBJECT, OBJECT))
  assert counting.winners(caption) == [0, 0]
