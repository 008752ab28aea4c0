"""Captions as written: spans of tokens, edits of whole words, readability."""

import numpy as np
import pytest

from tagsdc_jax.data import captions, dataset, phrases, written_captions

_WORDS = (
  '[PAD] [UNK] [CLS] [SEP] [MASK] a the small red ball dog ##s play ##ing and '
  'near , . skate ##board cat big'
)
_WORDS = _WORDS.split()


@pytest.fixture(name='vocabulary')
def _vocabulary(tmp_path):
  path = tmp_path / 'vocab.txt'
  path.write_text('\n'.join(_WORDS) + '\n', 'utf-8')
  return captions.load_vocabulary(path)


def _ids(*words):
  return np.array([_WORDS.index(word) for word in words], np.int32)


def _caption(text, words, own=(), kinds=()):
  return dataset.Caption('1', 0, _ids(*words.split()), own, text, kinds)


def _edited(vocabulary, caption, new):
  writer = written_captions.Writer(vocabulary)
  token_ids = _ids(*new.split())
  changes = written_captions.find_changes(caption, token_ids, vocabulary)
  text, edits = writer.edited(writer.written(caption), token_ids, changes)
  for (start, end, at, new_text), change in zip(edits, changes, strict=True):
    assert text[at : at + len(new_text)] == new_text
    assert start <= end and change.phrase >= -1
  return text, edits, writer.is_readable(text, token_ids, changes), changes


def test_case_and_punctuation_stay(vocabulary):
  caption = _caption('Small DOG, near a ball.', 'small dog , near a ball .')
  text, edits, is_readable, _ = _edited(
    vocabulary, caption, 'red dog , near a cat .'
  )
  assert text == 'Red DOG, near a cat.'
  assert edits == [(0, 5, 0, 'Red'), (18, 22, 16, 'cat')]
  assert is_readable


@pytest.mark.parametrize(
  ('new', 'text', 'edit'),
  [
    ('the cat ##s play', 'the cats play', 'cats'),
    ('the dog ##board play', 'the dogboard play', 'dogboard'),
    ('the skate ##board play', 'the skateboard play', 'skateboard'),
  ],
)
def test_whole_words_are_replaced(vocabulary, new, text, edit):
  caption = _caption('the dogs play', 'the dog ##s play')
  found, edits, is_readable, _ = _edited(vocabulary, caption, new)
  assert (found, is_readable) == (text, True)
  assert [one[3] for one in edits] == [edit]
  assert edits[0][:2] == (4, 8)


@pytest.mark.parametrize(
  'new', ['the ##s ##s play', 'the [MASK] ##s play', 'the [UNK] ##s play']
)
def test_what_is_no_word_is_not_readable(vocabulary, new):
  caption = _caption('the dogs play', 'the dog ##s play')
  assert not _edited(vocabulary, caption, new)[2]


def test_an_unknown_word_of_the_caption_stays(vocabulary):
  caption = _caption('the zebra near a dog', 'the [UNK] near a dog')
  text, _, is_readable, _ = _edited(vocabulary, caption, 'the [UNK] near a cat')
  assert (text, is_readable) == ('the zebra near a cat', True)


def test_moved_phrases_are_edited_where_they_stand(vocabulary):
  caption = _caption(
    'a small red ball and a dog',
    'a small red ball and a dog',
    ((1, 2, 3), (6,)),
    (phrases.OBJECT, phrases.OBJECT),
  )
  text, edits, _, changes = _edited(
    vocabulary, caption, 'a dog and a small red ball'
  )
  assert text == 'a dog and a small red ball'
  assert [one[3] for one in edits] == ['dog', 'small red ball']
  assert [one.phrase for one in changes] == [0, 1]


def test_sentences_may_be_longer_or_shorter(vocabulary):
  caption = _caption('a dog near a cat', 'a dog near a cat')
  assert _edited(vocabulary, caption, 'a big dog near a cat')[0] == (
    'a big dog near a cat'
  )
  assert _edited(vocabulary, caption, 'a dog')[0] == 'a dog'


def test_words_of_different_phrases_are_different_edits(vocabulary):
  caption = _caption(
    'a red ball', 'a red ball', ((1,), (2,), (1, 2)), (2, 1, 3)
  )
  _, edits, _, changes = _edited(vocabulary, caption, 'a big dog')
  assert [one[3] for one in edits] == ['big', 'dog']
  assert [one.phrase for one in changes] == [0, 1]


def test_a_caption_that_was_cut_off_is_written_anew(vocabulary):
  writer = written_captions.Writer(vocabulary)
  written = writer.written(_caption('the dogs play a ball', 'the dog ##s'))
  assert written.text == 'the dogs'
  assert written.spans == ((0, 3), (4, 7), (7, 8))
