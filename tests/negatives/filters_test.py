import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax.negatives import filters, mining


def _repeated_by_brute_force(rows):
  result = np.zeros(len(rows), bool)
  for i in range(len(rows)):
    result[i] = any(np.array_equal(rows[i], rows[j]) for j in range(i))
  return result


def test_valid_candidates_by_hand():
  references = np.array([[[1, 2, 3], [1, 4, 3], [0, 0, 0]]], np.int32)
  candidates = np.array(
    [
      [
        [1, 5, 3],
        [1, 2, 3],
        [1, 5, 3],
        [1, 4, 3],
        [1, 3, 5],
        [1, 5, 3],
        [0, 0, 1],
        [1, 2, 3],
      ]
    ],
    np.int32,
  )
  captions = references[:, 0]
  # Copies of earlier rows: 2, 5 and 7. The caption: 1. Captions of the image:
  # 1 and 3. Of their words and padding only: 1, 3 and 6.
  expected = {
    name: [[row in kept for row in range(8)]]
    for name, kept in {
      'caption': (0, 3, 4, 6),
      'image': (0, 4, 6),
      'words': (0, 4),
    }.items()
  }
  function = jax.jit(filters.valid_candidates, static_argnames='exclude')
  for name, rows in expected.items():
    np.testing.assert_array_equal(
      function(candidates, captions, references, exclude=name), rows
    )
    np.testing.assert_array_equal(
      filters.valid_candidates(
        *map(jnp.asarray, (candidates, captions, references)), exclude=name
      ),
      rows,
    )


def test_is_repeated_equals_brute_force():
  rng = np.random.default_rng(0)
  rows = np.stack(
    [
      rng.integers(0, 2, (60, 4)),  # At most 16 different ones.
      rng.integers(0, 3, (60, 4)),
      rng.permuted(np.tile([1, 2, 3, 4], (60, 1)), axis=1),  # Same multisets.
      np.zeros((60, 4)),
      np.arange(240).reshape(60, 4) % 28996,  # No copies.
      rng.integers(0, 2, (60, 4)) * 28995,
    ]
  ).astype(np.int32)
  found = np.asarray(jax.jit(filters.is_repeated)(rows))
  for ours, batch in zip(found, rows):
    np.testing.assert_array_equal(ours, _repeated_by_brute_force(batch))
  assert not found[4].any() and found[3].sum() == 59


def test_is_repeated_of_many_rows():
  rng = np.random.default_rng(1)
  # Candidates as refilling makes them: one caption, two words replaced.
  rows = np.tile(rng.integers(0, 30000, 12), (400, 1))
  rows[:, [3, 7]] = rng.integers(0, 12, (400, 2))
  found = np.asarray(jax.jit(filters.is_repeated)(rows[None].astype(np.int32)))[
    0
  ]
  np.testing.assert_array_equal(found, _repeated_by_brute_force(rows))
  assert 250 < found.sum() < 390


def test_is_reference_ignores_no_token():
  candidates = np.tile(np.arange(5, dtype=np.int32), (1, 6, 1))
  candidates[0, np.arange(5), np.arange(5)] += 1
  references = np.arange(5, dtype=np.int32)[None, None]
  np.testing.assert_array_equal(
    jax.jit(filters.is_reference)(candidates, references),
    [[False] * 5 + [True]],
  )


def test_select_hardest_by_hand():
  logits = jnp.array([[0.5, 3.0, -2.0, 9.0], [1.0, 2.0, 3.0, 4.0]])
  is_valid = jnp.array([[True, True, True, False], [False, True, False, False]])
  for function in (
    mining.select_hardest,
    jax.jit(mining.select_hardest, static_argnums=2),
  ):
    indices, is_filled = function(logits, is_valid, 3)
    np.testing.assert_array_equal(indices[0], [1, 0, 2])
    np.testing.assert_array_equal(
      is_filled, [[True, True, True], [True, False, False]]
    )
    assert indices[1, 0] == 1 and indices.dtype == jnp.int32
    # Filling is made of distinct candidates, never of the chosen one.
    assert len(set(np.asarray(indices[1]).tolist())) == 3


def test_select_hardest_of_none_valid_and_extreme_logits():
  logits = jnp.array([[-3e38, 3e38, 0.0], [1.0, 2.0, 3.0]])
  is_valid = jnp.array([[True, True, True], [False, False, False]])
  indices, is_filled = mining.select_hardest(logits, is_valid, 3)
  np.testing.assert_array_equal(indices[0], [1, 2, 0])
  np.testing.assert_array_equal(is_filled, is_valid)


def test_no_caption_and_no_copy_is_ever_selected():
  rng = np.random.default_rng(2)
  candidates = rng.integers(0, 2, (4, 40, 4)).astype(np.int32)
  references = rng.integers(0, 2, (4, 3, 4)).astype(np.int32)
  logits = rng.normal(size=(4, 40)).astype(np.float32)

  @jax.jit
  def select(candidates, references, logits):
    is_valid = filters.valid_candidates(
      candidates, references[:, 0], references, exclude='image'
    )
    return mining.select_hardest(logits, is_valid, 10)

  indices, is_filled = map(np.asarray, select(candidates, references, logits))
  for b in range(4):
    kept = candidates[b, indices[b, is_filled[b]]]
    assert len(np.unique(kept, axis=0)) == len(kept)
    for row in kept:
      assert not np.any(np.all(references[b] == row, axis=1))
    # Each is the first of its copies, hardest first.
    firsts = [np.argmax(np.all(candidates[b] == row, axis=1)) for row in kept]
    np.testing.assert_array_equal(firsts, indices[b, is_filled[b]])
    assert np.all(np.diff(logits[b, firsts]) <= 0)
    distinct = {tuple(r) for r in candidates[b]} - {
      tuple(r) for r in references[b]
    }
    assert is_filled[b].sum() == min(10, len(distinct))
