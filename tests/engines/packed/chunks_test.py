import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.engines.packed import chunks

# Of 4, 7 and 12 tokens a chunk holds 4, 2 and 1.
_BUCKETS, _CHUNK, _ROWS = (4, 7, 12), 17, 11
_calls = []


def _content():
  return np.random.default_rng(0).normal(size=(_ROWS, 12)).astype(np.float32)


@functools.cache
def _program():
  def run(content, lengths, is_valid):
    def score(rows, layout):
      jax.debug.callback(
        lambda choice, r: _calls.append((_BUCKETS[int(choice)], np.asarray(r))),
        layout.choice,
        rows,
      )
      own = rows[layout.rows]
      token = content.at[own, layout.places].get(mode='clip')
      is_token = layout.places < lengths.at[own].get(mode='clip')
      return jax.ops.segment_sum(
        jnp.where(is_token, token, 0.0), layout.rows, layout.max_rows
      )

    return chunks.run_queue(
      score, lengths, is_valid, buckets=_BUCKETS, num_tokens=_CHUNK
    )

  return jax.jit(run)


def _run(lengths, is_valid):
  _calls.clear()
  lengths = np.asarray(lengths, np.int32)
  is_valid = np.asarray(is_valid, bool)
  scores = np.asarray(_program()(_content(), lengths, is_valid))
  jax.effects_barrier()
  expected = [
    np.sum(row[:length]) if valid else 0.0
    for row, length, valid in zip(_content(), lengths, is_valid)
  ]
  np.testing.assert_allclose(scores, expected, atol=1e-5)
  return sorted((length for length, _ in _calls), reverse=True)


def test_buckets_of_the_chunks_by_hand():
  # Sorted: 12 | 9 | 8 | 7 7 | 5 4 | 4 3 2 1.
  buckets = _run([3, 12, 4, 7, 7, 1, 9, 5, 2, 8, 4], [True] * _ROWS)
  assert buckets == [12, 12, 12, 7, 7, 4]


def test_invalid_rows_cost_nothing():
  lengths = [3, 12, 4, 7, 7, 1, 9, 5, 2, 8, 4]
  # Left over: 4 4 3 2 1, two chunks of the shortest bucket.
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
  done = []
  found = [(length, rows[rows < _ROWS]) for length, rows in _calls]
  found = [(length, rows[is_valid[rows]]) for length, rows in found]
  for length, rows in sorted(found, key=lambda call: (-call[0], -len(call[1]))):
    # The narrowest that fits, and as many rows as there is room for.
    assert length == min(w for w in _BUCKETS if w >= lengths[rows].max())
    assert len(rows) == min(_CHUNK // length, is_valid.sum() - len(done))
    done += rows.tolist()
  assert sorted(done) == np.flatnonzero(is_valid).tolist()


def test_groups_by_hand():
  lengths = np.array([3, 12, 4, 7, 7, 1, 9], np.int32)
  is_valid = np.array([1, 1, 1, 1, 1, 1, 0], bool)
  groups = np.array([2, 0, 2, 2, 0, 0, 3])
  plan = chunks.make_plan(lengths, is_valid, _BUCKETS, 24, groups)
  np.testing.assert_array_equal(plan.order[:6], [3, 2, 0, 1, 4, 5])
  np.testing.assert_array_equal(plan.lengths[:6], [7, 4, 3, 12, 7, 1])
  assert plan.num_valid == 6
  start, found = jnp.int32(0), []
  while start < plan.num_valid:
    rows, layout, start = chunks.next_chunk(plan, start, _BUCKETS, 24)
    found.append((_BUCKETS[layout.choice], rows[rows < 7].tolist()))
  # 7 4 3 | 12 7 | 1 and the row that is not valid.
  assert found == [(7, [3, 2, 0]), (12, [1, 4]), (4, [5, 6])]


def test_a_chunk_on_the_border_is_as_wide_as_its_longest_row():
  lengths = np.array([3, 12, 4], np.int32)
  every, groups = np.ones(3, bool), np.array([1, 0, 1])
  plan = chunks.make_plan(lengths, every, _BUCKETS, 24, groups)
  rows, layout, start = chunks.next_chunk(plan, jnp.int32(0), _BUCKETS, 24)
  # Of bucket 4 or 7 the chunk would hold all three, of 12 it holds two.
  assert rows[rows < 3].tolist() == [2, 0] and start == 2
  assert layout.choice == 2


def test_unjitted():
  lengths, is_valid = jnp.array([2, 5, 9]), jnp.array([True, False, True])
  scores = chunks.run_queue(
    lambda rows, layout: (
      layout.places.max() + 1 + lengths.at[rows].get(mode='clip') / 100
    ),
    lengths,
    is_valid,
    buckets=(3, 9),
    num_tokens=18,
  )
  # One chunk, 9 wide.
  np.testing.assert_allclose(scores, [9.02, 0, 9.09], rtol=1e-6)


def test_length_buckets_by_hand():
  lengths = np.arange(1, 13)
  # Padded to 4, 8, 12: 4 (4 + 8 + 12) = 96 tokens; to 5, 9, 12 they are 97.
  assert chunks.length_buckets(lengths, 12, 3) == (4, 8, 12)
  # None is padded to 20: 6 (6 + 12) = 108.
  assert chunks.length_buckets(lengths, 20, 3) == (6, 12, 20)
  assert chunks.length_buckets(lengths, 12, 1) == (12,)
  # Equal lengths need one bucket, and no sample means no inner one.
  assert chunks.length_buckets(np.full(9, 6), 6, 4) == (6,)
  assert chunks.length_buckets(np.full(9, 6), 8, 4) == (6, 8)
  assert chunks.length_buckets(np.zeros(0, int), 8, 4) == (8,)


def test_length_buckets_properties():
  rng = np.random.default_rng(0)
  for _ in range(50):
    lengths = rng.integers(3, 3 + rng.integers(1, 60), rng.integers(1, 99))
    longest = int(lengths.max() + rng.integers(0, 3))
    number = int(rng.integers(1, 9))
    buckets = chunks.length_buckets(lengths, longest, number)
    assert list(buckets) == sorted(set(buckets)) and len(buckets) <= number
    assert buckets[-1] == longest
    assert all(isinstance(w, int) for w in buckets)
    assert set(buckets[:-1]) <= set(lengths.tolist())


def _padded(lengths, buckets):
  return sum(min(w for w in buckets if w >= length) for length in lengths)


def test_no_other_buckets_pad_less():
  rng = np.random.default_rng(1)
  for _ in range(20):
    lengths = rng.integers(1, 10, 30)
    longest = int(lengths.max()) + int(rng.integers(0, 2))
    for number in (1, 2, 3, 4):
      least = min(
        _padded(lengths, (*inner, longest))
        for inner in itertools.combinations(range(1, longest), number - 1)
      )
      buckets = chunks.length_buckets(lengths, longest, number)
      assert _padded(lengths, buckets) == least


def test_chunk_tokens_by_hand():
  assert chunks.chunk_tokens(100, (4, 12), 64) == 64
  assert chunks.chunk_tokens(3, (4, 12), 64) == 36  # There are no more.
  assert chunks.chunk_tokens(100, (4, 12), 5) == 12  # One row at least.
  assert chunks.chunk_tokens(0, (4, 12), 64) == 12
