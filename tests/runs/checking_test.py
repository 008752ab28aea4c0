"""Checked sentences by hand: what the heads say becomes words and texts."""

import numpy as np
import pytest

from tagsdc_jax.data import captions
from tagsdc_jax.data.dataset import Caption, Vocabulary
from tagsdc_jax.reporting.checked import Word
from tagsdc_jax.runs import checking, reading

_WORDS = (
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '[MASK]',
  'a',
  'red',
  'blue',
  'sun',
  '##flower',
  '.',
)
_VOCABULARY = Vocabulary(
  size=len(_WORDS),
  pad=0,
  unk=1,
  cls=2,
  sep=3,
  mask=4,
  random_range=(5, len(_WORDS)),
  words=_WORDS,
)


def _caption(text):
  return Caption('', 0, captions.make_encoder(_VOCABULARY)(text), (), text)


class _Reader:
  """Gives the same outputs for every pair, and keeps what was asked."""

  def __init__(self, replaced, suggestions, logits):
    self._replaced, self._suggestions = replaced, suggestions
    self._logits = logits
    self.asked = []

  def read(self, pairs, *, with_words, at_once=0):
    """Returns outputs for pairs, with the score of the tokens."""
    self.asked.append((pairs, with_words, at_once))
    repeated = lambda row, dtype: np.array([row] * len(pairs), dtype)
    ids = lambda words: [_WORDS.index(word) for word in words]
    return reading.Read(
      np.zeros((len(pairs), 3), np.float32),
      np.array(
        [self._logits[tuple(c.token_ids.tolist())] for c, _ in pairs],
        np.float32,
      ),
      *(
        (
          # [CLS], the words, [SEP] and padding.
          repeated([0.9, *self._replaced, 0.9, 0.9], np.float32),
          repeated(ids(['blue', *self._suggestions, 'blue', 'blue']), np.int32),
        )
        if with_words
        else (None, None)
      ),
    )


def _ids(*words):
  return tuple(_WORDS.index(word) for word in words)


def _check(reader, texts, with_words=True):
  return checking.check(
    reader,
    [(_caption(text), 7) for text in texts],
    _VOCABULARY,
    checking.open_writer(_VOCABULARY),
    with_words=with_words,
  )


def test_a_word_is_wrong_and_is_corrected():
  before = _ids('a', 'red', 'sun', '##flower', '.')
  after = _ids('a', 'blue', 'sun', '##flower', '.')
  reader = _Reader(
    # One half is not above one half.
    [0.1, 0.75, 0.5, 0.2, 0.3],
    ['red', 'blue', 'red', '.', '.'],
    {before: -np.log(3), after: 2.0},
  )
  first, second = _check(reader, ['A Red sunflower.', 'a red sunflower .'])
  assert first.text == 'A Red sunflower.'
  assert first.score == pytest.approx(-np.log(3))
  assert first.probability == pytest.approx(0.25)
  # As it was written, where nothing was changed.
  assert first.corrected == 'A Blue sunflower.'
  assert second.corrected == 'a blue sunflower .'
  assert first.corrected_score == second.corrected_score == 2.0
  assert first.words == (
    Word('a', pytest.approx(0.1), 'red'),
    Word('red', 0.75, 'blue'),
    Word('sun', 0.5, 'red'),
    Word('flower', pytest.approx(0.2), '.', is_piece=True),
    Word('.', pytest.approx(0.3), '.'),
  )
  (_, is_first, _), (pairs, is_again, at_once) = reader.asked
  assert is_first and is_again and at_once == 2
  assert [image for _, image in pairs] == [7, 7]


def test_only_what_changes_is_scored_again():
  same, other = _ids('a', 'red'), _ids('red', 'a')
  fixed = _ids('red', 'red')
  reader = _Reader(
    [0.6, 0.6], ['red', 'red'], {same: 1.0, other: 0.0, fixed: 5.0}
  )
  found = _check(reader, ['a red', 'red a'])
  assert [one.corrected for one in found] == ['red red', 'red red']
  # The suggestion is the word itself: nothing to correct.
  reader = _Reader([0.6, 0.6], ['red', 'a'], {other: 0.0})
  [one] = _check(reader, ['Red a'])
  assert one.corrected == one.text == 'Red a'
  assert one.corrected_score is None and len(reader.asked) == 1
  assert [word.replaced > 0.5 for word in one.words] == [True, True]


def test_without_word_heads():
  reader = _Reader([], [], {_ids('a', 'red'): 0.0})
  [one] = _check(reader, ['A red'], with_words=False)
  assert one == checking.Checked('A red', 0.0, 0.5, (), 'A red', None)
  assert len(reader.asked) == 1
