"""Checked sentences by hand: what the heads say becomes words and texts."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.data import captions
from tagsdc_jax.data.dataset import Caption, Vocabulary
from tagsdc_jax.reporting.checked import Checked, Word
from tagsdc_jax.runs import checking, example_negatives, reading

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


def _ids(text):
  return tuple(_WORDS.index(word) for word in text.split())


class _Reader:
  """Gives the same word outputs for every pair, and the scores of tokens."""

  def __init__(self, replaced, suggestions, scores):
    self._replaced, self._suggestions = replaced, _ids(suggestions)
    self._scores = {_ids(text): score for text, score in scores.items()}
    self.asked = []

  def read(self, pairs, *, with_words, at_once=0):
    """Returns the outputs for pairs of a caption and an image."""
    self.asked.append((len(pairs), with_words, at_once))
    assert {image for _, image in pairs} == {7}
    scores = [self._scores[tuple(c.token_ids.tolist())] for c, _ in pairs]
    # [CLS] comes before the words, [SEP] and padding after them.
    replaced = [0.9, *self._replaced, 0.9, 0.9]
    suggestions = [6, *self._suggestions, 6, 6]
    return reading.Read(
      np.zeros((len(pairs), 3), np.float32),
      np.array(scores, np.float32),
      np.array([replaced] * len(pairs), np.float32) if with_words else None,
      np.array([suggestions] * len(pairs), np.int32) if with_words else None,
    )


def _check(reader, *texts, with_words=True):
  return checking.check(
    reader,
    [(_caption(text), 7) for text in texts],
    _VOCABULARY,
    checking.open_writer(_VOCABULARY),
    with_words=with_words,
  )


def test_a_word_is_corrected_where_odds_and_scores_say_so():
  reader = _Reader(
    [0.01, 0.75, 0.02, 0.03, 0.04],
    'red blue red red red',
    # The odds that it is wrong are 3; those of a match fall by less.
    {
      'a red sun ##flower .': -np.log(3),
      'a blue sun ##flower .': -np.log(3) - 1.0,
    },
  )
  first, second = _check(reader, 'A Red sunflower.', 'a red sunflower .')
  assert first.text == 'A Red sunflower.'
  assert first.score == pytest.approx(-np.log(3))
  assert first.probability == pytest.approx(0.25)
  # As it was written, where nothing was changed.
  assert first.corrected == 'A Blue sunflower.'
  assert second.corrected == 'a blue sunflower .'
  assert first.corrected_score == pytest.approx(-np.log(3) - 1)
  assert first.words == (
    Word('a', pytest.approx(0.01), 'red'),
    Word('red', 0.75, 'blue', is_corrected=True),
    Word('sun', pytest.approx(0.02), 'red'),
    Word('flower', pytest.approx(0.03), 'red', is_piece=True),
    Word('.', pytest.approx(0.04), 'red'),
  )
  assert reader.asked == [(2, True, 0), (2, True, 2)]


@pytest.mark.parametrize(
  'replaced, scores, corrected',
  [
    # log 3 - 1.2 is negative.
    ((0.75, 0.01), (0, -1.2, None, None), 'a red'),
    # log 1/3 + 1 is negative, + 1.2 positive.
    ((0.25, 0.01), (0, 1.0, None, None), 'a red'),
    ((0.25, 0.01), (0, 1.2, None, None), 'blue red'),
    # 1 + log 1/3 for one, 2 + log 1/4 for the other, 3 + log 1/12 for both.
    ((0.25, 0.2), (0, 1.0, 2.0, 3.0), 'a sun'),
    ((0.25, 0.2), (0, 1.0, 2.0, 3.2), 'blue sun'),
    ((0.25, 0.2), (0, 3.0, 2.0, 3.2), 'blue red'),
    # Certain ones stay finite.
    ((1.0, 0.0), (0, -13.0, None, None), 'blue red'),
    ((1.0, 0.0), (0, -14.0, None, None), 'a red'),
  ],
)
def test_the_best_of_several_corrections(replaced, scores, corrected):
  texts = ('a red', 'blue red', 'a sun', 'blue sun')
  reader = _Reader(
    replaced,
    'blue sun',
    {t: s for t, s in zip(texts, scores, strict=True) if s is not None},
  )
  [one] = _check(reader, 'a red')
  assert one.corrected == corrected
  changed = [
    before != after
    for before, after in zip(['a', 'red'], corrected.split(), strict=True)
  ]
  assert [word.is_corrected for word in one.words] == changed
  after = scores[texts.index(corrected)] if any(changed) else None
  assert one.corrected_score == (after and pytest.approx(after))


@pytest.mark.parametrize(
  'replaced_weight, kept_weight', [(1.0, 0.11), (1.0, 1.0), (0.5, 2.0)]
)
def test_class_weights_are_taken_back(replaced_weight, kept_weight):
  # What minimizes the weighted loss of words of which a fifth is wrong.
  share = np.array([0.2 * replaced_weight, 0.8 * kept_weight])
  logits = jnp.array([np.log(share) + 3, [0.0, 0.0]], jnp.float32)
  losses = settings.Losses(
    replaced_weight=replaced_weight, kept_weight=kept_weight
  )
  own = types.SimpleNamespace(
    task=types.SimpleNamespace(settings=settings.Settings(losses=losses)),
    read=lambda params, head, states: (
      logits if head == 'disc_logits' else states
    ),
  )
  words = jnp.array([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
  probs, corrections = example_negatives.read_words(own, None, words)
  np.testing.assert_allclose(
    probs, [0.2, kept_weight / (kept_weight + replaced_weight)], rtol=1e-5
  )
  assert corrections.tolist() == [1, 0]


def test_three_words_at_most():
  texts = ['a a a a', 'red a a a', 'a red a a', 'a a red a', 'a a a red']
  texts += ['a red a red', 'a red red red']
  scores = dict(zip(texts, [0, 0, 0, 0, 0, 0, 9], strict=True))
  reader = _Reader([0.1, 0.6, 0.3, 0.5], 'red red red red', scores)
  [one] = _check(reader, 'a a a a')
  assert one.corrected == 'a red red red' and one.corrected_score == 9
  assert reader.asked[1] == (6, True, 1)


@pytest.mark.parametrize('suggestion', ['red', '[MASK]', '##flower', '[UNK]'])
def test_what_is_no_correction(suggestion):
  # The word itself, a special token, a piece that would join the word before.
  reader = _Reader([0.01, 0.9], f'a {suggestion}', {'a red': 0.0})
  [one] = _check(reader, 'A red')
  assert one.corrected == one.text == 'A red'
  assert one.corrected_score is None and len(reader.asked) == 1
  assert one.words[1].is_doubtful and not one.words[0].is_doubtful


def test_without_word_heads():
  reader = _Reader([], '', {'a red': 0.0})
  [one] = _check(reader, 'A red', with_words=False)
  assert one == Checked('A red', 0.0, 0.5, (), 'A red', None)
  assert len(reader.asked) == 1


def test_without_the_words_of_the_vocabulary():
  bare = dataclasses.replace(_VOCABULARY, words=())
  reader = _Reader([0.9, 0.01], 'blue a', {'a red': 0.0, 'blue red': 0.0})
  caption = dataclasses.replace(_caption('a red'), text='')
  assert checking.open_writer(bare) is None
  [one] = checking.check(reader, [(caption, 7)], bare, None, with_words=True)
  assert one.text == '[5] [6]' and one.corrected == '[7] [6]'
