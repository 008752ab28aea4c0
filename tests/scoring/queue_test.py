import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.scoring import queue

_WIDTHS, _CHUNK, _ROWS = (4, 7, 12), 4, 11
_calls = []


def _content():
  return np.random.default_rng(0).normal(size=(_ROWS, 12)).astype(np.float32)


@functools.cache
def _program():
  def run(content, lengths, is_valid):
    def score(width, rows):
      jax.debug.callback(lambda r: _calls.append((width, np.asarray(r))), rows)
      own = lengths.at[rows].get(mode='clip')
      row = content.at[rows, :width].get(mode='clip')
      is_token = jnp.arange(width)[None] < own[:, None]
      return jnp.sum(jnp.where(is_token, row, 0.0), axis=1)
    return queue.run_queue(score, lengths, is_valid, widths=_WIDTHS,
                           chunk=_CHUNK)
  return jax.jit(run)


def _run(lengths, is_valid):
  _calls.clear()
  lengths = np.asarray(lengths, np.int32)
  is_valid = np.asarray(is_valid, bool)
  scores = np.asarray(_program()(_content(), lengths, is_valid))
  jax.effects_barrier()
  expected = [np.sum(row[:length]) if valid else 0.0 for row, length, valid
              in zip(_content(), lengths, is_valid)]
  np.testing.assert_allclose(scores, expected, atol=1e-5)
  return sorted((width for width, _ in _calls), reverse=True)


def test_widths_of_the_chunks_by_hand():
  # Sorted: 12 9 8 7 | 7 5 4 4 | 3 2 1.
  widths = _run([3, 12, 4, 7, 7, 1, 9, 5, 2, 8, 4], [True] * _ROWS)
  assert widths == [12, 7, 4]


def test_invalid_rows_cost_nothing():
  lengths = [3, 12, 4, 7, 7, 1, 9, 5, 2, 8, 4]
  # Left over: 4 4 3 2 1, two chunks of the narrowest width.
  valid = [x <= 4 for x in lengths]
  assert _run(lengths, valid) == [4, 4]
  assert _run(lengths, [False] * _ROWS) == []
  assert _run([12] * _ROWS, [False] * 10 + [True]) == [12]


@pytest.mark.parametrize('seed', range(5))
def test_any_lengths(seed):
  rng = np.random.default_rng(seed)
  lengths = rng.integers(1, 13, _ROWS)
  is_valid = rng.random(_ROWS) < rng.random()
  _run(lengths, is_valid)
  assert len(_calls) == -(-is_valid.sum() // _CHUNK)
  for width, rows in _calls:
    rows = rows[rows < _ROWS]
    longest = lengths[rows[is_valid[rows]]].max()
    # The narrowest that fits.
    assert width == min(w for w in _WIDTHS if w >= longest)


def test_a_group_that_comes_first_by_hand():
  lengths = np.array([3, 12, 4, 7, 7, 1, 9], np.int32)
  is_valid = np.array([1, 1, 1, 1, 1, 1, 0], bool)
  comes_first = np.array([1, 0, 1, 1, 0, 0, 1], bool)
  plan = queue.make_plan(lengths, is_valid, _WIDTHS, 2, comes_first)
  # 7 4 | 3 12 | 7 1: the second chunk is as wide as the longer of its rows.
  np.testing.assert_array_equal(plan.order[:6], [3, 2, 0, 1, 4, 5])
  np.testing.assert_array_equal(plan.branch[:3], [1, 2, 1])
  assert plan.num_chunks == 3


def test_unjitted():
  lengths, is_valid = jnp.array([2, 5, 9]), jnp.array([True, False, True])
  scores = queue.run_queue(
      lambda width, rows: width + lengths.at[rows].get(mode='clip') / 100,
      lengths, is_valid, widths=(3, 9), chunk=2)
  # One chunk, 9 wide.
  np.testing.assert_allclose(scores, [9.02, 0, 9.09], rtol=1e-6)


def test_length_widths_by_hand():
  lengths = np.arange(1, 13)
  # Padded to 4, 8, 12: 4 (4 + 8 + 12) = 96 tokens; to 5, 9, 12 they are 97.
  assert queue.length_widths(lengths, 12, 3) == (4, 8, 12)
  # None is padded to 20: 6 (6 + 12) = 108.
  assert queue.length_widths(lengths, 20, 3) == (6, 12, 20)
  assert queue.length_widths(lengths, 12, 1) == (12,)
  # Equal lengths need one width, and no sample means no inner one.
  assert queue.length_widths(np.full(9, 6), 6, 4) == (6,)
  assert queue.length_widths(np.full(9, 6), 8, 4) == (6, 8)
  assert queue.length_widths(np.zeros(0), 8, 4) == (8,)


def test_length_widths_properties():
  rng = np.random.default_rng(0)
  for _ in range(50):
    lengths = rng.integers(3, 3 + rng.integers(1, 60), rng.integers(1, 99))
    longest = lengths.max() + rng.integers(0, 3)
    number = rng.integers(1, 9)
    widths = queue.length_widths(lengths, longest, number)
    assert list(widths) == sorted(set(widths)) and len(widths) <= number
    assert widths[-1] == longest
    assert all(isinstance(w, int) for w in widths)
    assert set(widths[:-1]) <= set(lengths.tolist())


def _padded(lengths, widths):
  return sum(min(w for w in widths if w >= length) for length in lengths)


def test_no_other_widths_pad_less():
  rng = np.random.default_rng(1)
  for _ in range(20):
    lengths = rng.integers(1, 10, 30)
    longest = int(lengths.max()) + int(rng.integers(0, 2))
    for number in (1, 2, 3, 4):
      least = min(_padded(lengths, (*inner, longest))
                  for inner in itertools.combinations(range(1, longest),
                                                      number - 1))
      widths = queue.length_widths(lengths, longest, number)
      assert _padded(lengths, widths) == least


def test_even_chunk_by_hand():
  assert queue.even_chunk(20, 32) == 20
  assert queue.even_chunk(94, 32) == 32  # Three chunks, two rows of filling.
  assert queue.even_chunk(70, 32) == 24
  assert queue.even_chunk(1, 32) == 1
