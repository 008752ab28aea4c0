"""Errors, tolerances and verdicts by hand."""

import numpy as np
import pytest

from tagsdc_jax.comparison import items

_THEIRS = np.array([1.0, -4.0, 2.0])


@pytest.mark.parametrize(
  'ours, atol, rtol, holds, max_abs, max_rel',
  [
    ([1.0, -4.5, 2.25], 0.5, None, True, 0.5, 0.125),
    ([1.0, -4.5, 2.25], 0.49, None, False, 0.5, 0.125),
    # An eighth of the largest recorded value.
    ([1.0, -4.5, 2.25], 0.49, 0.125, True, 0.5, 0.125),
    ([1.0, -4.5, 2.25], 0.49, 0.12, False, 0.5, 0.125),
    ([1.0, -4.0, 2.0], 0.0, None, True, 0.0, 0.0),
    ([1.0, np.nan, 2.0], 100, None, False, np.inf, np.inf),
    ([1.0, np.inf, 2.0], 100, 100, False, np.inf, np.inf),
  ],
)
def test_close(ours, atol, rtol, holds, max_abs, max_rel):
  item = items.close('f', 'n', np.array(ours), _THEIRS, atol=atol, rtol=rtol)
  assert (item.holds, item.max_abs, item.max_rel) == (holds, max_abs, max_rel)
  assert item.verdict == (items.HOLDS if holds else items.FAILS)


def test_tolerance_in_words():
  words = [
    items.close('f', 'n', 0, 0, **bounds).tolerance
    for bounds in (
      {'atol': 1e-5},
      {'atol': 5e-6, 'rtol': 1e-4},
      {'rtol': 1e-4},
      {},
    )
  ]
  assert words == ['1e-05', '5e-06 or 0.0001 rel.', '0.0001 rel.', '0']


def test_equal_infinities_and_nothing_at_all():
  assert items.close('f', 'n', np.array([np.inf]), np.array([np.inf])).holds
  assert items.close('f', 'n', np.zeros((0, 3)), np.zeros((0, 3))).holds
  # Relative to zeros only nothing is near.
  item = items.close('f', 'n', np.array([1e-9]), np.zeros(1), rtol=1.0)
  assert item.holds is False and item.max_rel == np.inf


def test_shapes_must_agree():
  item = items.close('f', 'n', np.zeros((2, 1)), np.zeros(2), atol=1)
  assert item.holds is False and item.max_abs is None
  assert item.note == 'shape (2, 1), recorded (2,)'


def test_equal():
  assert items.equal('f', 'n', np.array([1, 2]), np.array([1, 2])).holds
  item = items.equal('f', 'n', np.array([1, 4]), np.array([1, 2]))
  assert item.holds is False and item.max_abs == 2
  assert items.equal('f', 'n', np.array([True]), np.array([1])).holds
  assert items.equal('f', 'n', ['a', (1, 2)], ['a', (1, 2)]).holds
  assert items.equal('f', 'n', ['a', 'b'], np.array(['a', 'b'])).holds
  item = items.equal('f', 'n', ['a'], ['b' * 100])
  assert item.holds is False
  assert "ours: ['a'], recorded: ['bbb" in item.note and len(item.note) < 100


def test_of_dictionaries_the_differing_entries_are_shown():
  ours = {f'k{i}': i for i in range(99)}
  item = items.equal('f', 'n', ours, ours | {'k50': 'other'})
  assert item.note == "ours: {'k50': 50}, recorded: {'k50': 'other'}"


def test_as_sets():
  theirs = np.array([[3, 1, 2], [9, 8, 7]])
  assert items.as_sets('f', 'n', [[1, 2, 3], [7, 8, 9]], theirs).holds
  assert not items.as_sets('f', 'n', [[1, 2, 2], [7, 8, 9]], theirs).holds


def test_within_takes_a_bound_of_each_number():
  bounds = np.array([0.1, 1.0])
  arguments = {'bounds': bounds, 'tolerance': 'words'}
  item = items.within('f', 'n', [0.05, 0.9], np.zeros(2), **arguments)
  assert item.holds and item.max_abs == 0.9 and item.tolerance == 'words'
  assert not items.within('f', 'n', [0.2, 0.9], np.zeros(2), **arguments).holds
  nan = items.within('f', 'n', [np.nan, 0.9], np.zeros(2), **arguments)
  assert nan.holds is False


def test_largest_is_the_worst():
  several = [
    items.close('f', name, error, 0.0, atol=bound)
    for name, error, bound in (
      ('a', 3.0, 9.0),
      ('b', 2.0, 1.0),
      ('c', 5.0, 9.0),
    )
  ]
  # One that fails is worse than one that is further off but holds.
  item = items.largest(several, 'all')
  assert item.name == 'all' and item.holds is False and item.max_abs == 2
  assert item.note == '3 arrays; worst: b'
  assert items.largest(several[::2], 'all').note == '2 arrays; worst: c'


def test_probable():
  assert items.probable('f', 'n', 1e-3, 1e-4).holds
  assert items.probable('f', 'n', 1e-5, 1e-4).holds is False
