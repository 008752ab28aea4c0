"""A pickled dict of numbers is read without unpickling; others are refused."""

import collections
import os
import pickle

import pytest

from tagsdc_jax.preparing.regions import number_pickle


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
  'numbers',
  [
    {},
    {0: 0},
    {391895: 0, -3: 70000, 2**40: 255, 5: 256},
    {i * 7919: i for i in range(3000)},
  ],
)
def test_dicts_of_numbers_of_every_protocol(numbers, protocol):
  content = pickle.dumps(numbers, protocol)
  assert number_pickle.numbers_of(content) == numbers


class _Bomb:
  def __reduce__(self):
    return (os._exit, (1,))


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
  'content',
  [
    _Bomb(),
    {1: _Bomb()},
    {1: 'a'},
    {'a': 1},
    {1: True},
    {1: 2.0},
    {1: None},
    {1: {2: 3}},
    [1, 2],
    5,
    (),
    collections.OrderedDict({1: 2}),
  ],
)
def test_anything_else_is_refused(content, protocol):
  with pytest.raises(ValueError, match='it (contains other|is not one dict)'):
    number_pickle.numbers_of(pickle.dumps(content, protocol))


def test_every_cut_and_every_changed_byte_ends_in_words():
  for protocol in (0, 2, 4):
    whole = pickle.dumps({i * 700: i for i in range(9)}, protocol)
    for end in range(len(whole)):
      with pytest.raises(ValueError):
        number_pickle.numbers_of(whole[:end])
    for place in range(len(whole)):
      for value in range(0, 256, 5):
        changed = whole[:place] + bytes([value]) + whole[place + 1 :]
        try:
          found = number_pickle.numbers_of(changed)
        except ValueError:
          continue
        assert all(type(x) is int for pair in found.items() for x in pair)
