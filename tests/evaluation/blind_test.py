"""Tests of the blind baseline, on sets where the answer is known."""

import numpy as np
import pytest

from tagsdc_jax.evaluation import blind

COLORS = ('red', 'blue', 'green', 'white', 'black', 'pink')


def _pictures(count, each=2):
  return [str(row // each) for row in range(count)]


def test_words():
  assert blind.words("A man's  Hat, é 3") == [
    *('a', 'man', "'", 's', 'hat', ',', 'é', '3')
  ]
  # Chinese characters are not one word together.
  assert blind.words('一只狗 dog') == ['一', '只', '狗', 'dog']


def test_a_word_that_gives_foils_away():
  captions = [f'a {color} dog' for color in COLORS] * 4
  foils = [f'a {color} dog maybe' for color in COLORS] * 4
  found = blind.bag_of_words(
    captions, foils, ['token'] * 24, _pictures(len(captions))
  )
  assert found == {'all': 100.0, 'token': 100.0}


def test_exchangeable_pairs_are_chance():
  rng = np.random.default_rng(0)
  drawn = [rng.choice(COLORS, 2, replace=False) for _ in range(4000)]
  found = blind.bag_of_words(
    [f'a {one} dog' for one, _ in drawn],
    [f'a {other} dog' for _, other in drawn],
    ['attribute'] * 4000,
    _pictures(4000),
  )
  # 4,000 throws of a coin are within 3 % with four standard deviations.
  assert found['all'] == pytest.approx(blind.CHANCE, abs=3.2)


def test_the_same_words_in_another_order_are_chance_exactly():
  found = blind.bag_of_words(
    ['a dog sees a Cat', 'a cat sees a dog', 'one man'],
    ['a cat sees a dog', 'a dog sees a cat', 'man one'],
    ['relation'] * 3,
    ['0', '1', '2'],
  )
  assert found == {'all': 50.0, 'relation': 50.0}


def test_kinds_are_told_apart():
  # Half of the foils end in a word of their own; half are exchanged sides.
  captions = ['a red dog', 'a dog sees a cat'] * 10
  foils = ['a red dog too', 'a cat sees a dog'] * 10
  found = blind.bag_of_words(
    captions, foils, ['token', 'relation'] * 10, _pictures(20)
  )
  assert found == {'all': 75.0, 'token': 100.0, 'relation': 50.0}


def test_pairs_of_a_picture_are_never_on_both_sides():
  # Each picture has its own word in its foils, so that only its own pairs
  # could give it away.
  captions = [f'a dog {row // 5}' for row in range(100)]
  foils = [f'a dog x{row // 5}' for row in range(100)]
  together = _pictures(100, each=5)
  assert blind.bag_of_words(captions, foils, ['token'] * 100, together) == {
    'all': 50.0,
    'token': 50.0,
  }
  apart = [str(row) for row in range(100)]
  assert blind.bag_of_words(captions, foils, ['token'] * 100, apart)[
    'all'
  ] == pytest.approx(100)


def test_few_pictures():
  pair = ['a dog'], ['a dog maybe'], ['token']
  assert blind.bag_of_words(*pair, ['0']) == {}
  assert blind.bag_of_words([], [], [], []) == {}
  # Two: each is judged by what the other taught.
  both = [value * 2 for value in pair]
  assert blind.bag_of_words(*both, ['0', '1'])['all'] == 100


def test_rare_words_share_a_weight(monkeypatch):
  # Every foil has a rare word, another one each time.
  monkeypatch.setattr(blind, '_MAX_WORDS', 2)
  found = blind.bag_of_words(
    ['a dog'] * 20,
    [f'a cat {row}' for row in range(20)],
    ['object'] * 20,
    _pictures(20),
  )
  assert found['all'] == 100
  # Without the frequent words it is the rare ones that tell.
  found = blind.bag_of_words(
    ['a dog'] * 20,
    [f'a dog {row}' for row in range(20)],
    ['object'] * 20,
    _pictures(20),
  )
  assert found['all'] > 90


def test_it_depends_on_its_arguments_only():
  rng = np.random.default_rng(1)
  captions = [' '.join(rng.choice(COLORS, 3)) for _ in range(300)]
  foils = [' '.join(rng.choice(COLORS, 3)) for _ in range(300)]
  given = captions, foils, ['token'] * 300, _pictures(300)
  first, again, other = (blind.bag_of_words(*given, seed=s) for s in (3, 3, 4))
  assert first == again != other
