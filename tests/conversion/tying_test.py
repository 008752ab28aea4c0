"""Tests of copies of the word embedding."""

from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.conversion import name_rules, tying

FILE = Path('some.pt')
DECODER, CORRECTION = name_rules.TIED


def _weights(words=0.0, decoder=0.0, correction=0.0):
  table = np.arange(6, dtype=np.float32).reshape(3, 2)
  result = {
    name_rules.WORDS: table.copy(),
    DECODER: table.copy(),
    CORRECTION: table.copy(),
  }
  for name, change in zip(result, (words, decoder, correction)):
    result[name][1, 1] += change
  return result


@pytest.mark.parametrize('winner', [None, *tying.COPIES])
def test_copies_that_agree_become_one(winner):
  weights = _weights()
  tying.settle(weights, 'dc', winner, FILE)
  assert list(weights) == [name_rules.WORDS]
  np.testing.assert_array_equal(
    weights[name_rules.WORDS], [[0, 1], [2, 3], [4, 5]]
  )


@pytest.mark.parametrize(
  'winner, value', [('embedding', 3), ('decoder', 4), ('correction', 5)]
)
def test_the_winner_is_kept(winner, value):
  weights = _weights(decoder=1, correction=2)
  tying.settle(weights, 'dc', winner, FILE)
  assert list(weights) == [name_rules.WORDS]
  assert weights[name_rules.WORDS][1, 1] == value


def test_copies_that_differ_need_a_winner():
  weights = _weights(correction=0.5)
  with pytest.raises(errors.UserError) as error:
    tying.settle(weights, 'dc', None, FILE)
  assert str(error.value) == (
    f'some.pt contains copies of one table that differ: {CORRECTION} differs '
    f'from {name_rules.WORDS} in 1 of 6 numbers, by up to 0.5. Choose '
    'one with --tied=embedding|decoder|correction; torch would load the '
    'last one, --tied=correction'
  )
  assert len(weights) == 3


def test_one_bit_is_a_difference():
  weights = _weights()
  weights[DECODER][0, 0] = -0.0
  with pytest.raises(errors.UserError, match='differ'):
    tying.settle(weights, 'dc', None, FILE)


def test_a_copy_that_is_not_there():
  weights = _weights()
  del weights[CORRECTION]
  with pytest.raises(
    errors.UserError,
    match='--tied must be one of embedding, '
    'decoder for some.pt, got correction',
  ):
    tying.settle(weights, 'tags', 'correction', FILE)
