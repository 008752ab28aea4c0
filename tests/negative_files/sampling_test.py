"""Samples of streams, and equal sentences counted by their hashes."""

import numpy as np

from tagsdc_jax.negative_files import sampling


def _sample(size, count, seed=0):
  reservoir = sampling.Reservoir(size, seed)
  for item in range(count):
    reservoir.add(item)
  assert reservoir.count == count
  return reservoir.items


def test_all_is_kept_in_order_while_there_is_room():
  assert _sample(5, 5) == [0, 1, 2, 3, 4]
  assert _sample(5, 0) == []


def test_a_sample_depends_on_the_seed():
  assert _sample(5, 100) == _sample(5, 100) != _sample(5, 100, seed=1)
  assert len(set(_sample(5, 100))) == 5


def test_every_item_is_as_likely():
  drawn = np.bincount(
    [item for seed in range(2000) for item in _sample(3, 12, seed)],
    minlength=12,
  )
  # A quarter of 2,000, with a standard deviation of 19.
  assert np.abs(drawn - 500).max() < 80


def _texts(most=1000):
  texts = sampling.EqualTexts(most)
  for text in ('a dog', 'a cat', 'a cat'):
    texts.add_caption(text)
  for text in ('A  cat', 'a cow', 'a cow', 'a cow', 'a cat'):
    texts.add_negative(text)
  return texts


def test_equal_sentences_by_hand():
  texts = _texts()
  # "a cow" twice more than once, "a cat" once more; "a cat" is a caption.
  assert (texts.repeated(), texts.captions(), texts.share) == (3, 2, 1.0)
  empty = sampling.EqualTexts()
  assert (empty.repeated(), empty.captions()) == (0, 0)


def test_odd_characters_have_hashes():
  texts = sampling.EqualTexts()
  texts.add_caption('a \ud800 dog')
  texts.add_negative('a \ud800 dog')
  assert texts.captions() == 1


def test_many_sentences_are_estimated_from_some():
  texts = sampling.EqualTexts(most=500)
  for number in range(10_000):
    texts.add_caption(f'caption {number}')
  # 4,000 are captions; 6,000 are new, twice each.
  for number in range(4000):
    texts.add_negative(f'caption {number}')
  for number in range(12_000):
    texts.add_negative(f'negative {number % 6000}')
  assert texts.share == 1 / 32
  # About 500 of 16,000 sentences: within a fifth.
  assert abs(texts.captions() - 4000) < 800
  assert abs(texts.repeated() - 6000) < 1200
