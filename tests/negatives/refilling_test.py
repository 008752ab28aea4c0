import functools

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax.negatives import refilling
from tests.negatives import chi_square

_VOCAB = 5 * refilling.BLOCK + 41  # Not a multiple of the block.
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))
_sample = jax.jit(refilling.sample_tokens, static_argnums=2)


def _softmax(logits):
  weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
  return weights / weights.sum()


def _grid(num, low, high, fixed, axis):
  """Returns uniforms [1, num, 2]: a grid on one axis, one value else."""
  uniforms = np.full((1, num, 2), fixed, np.float32)
  uniforms[0, :, axis] = low + (high - low) * (np.arange(num) + 0.5) / num
  return uniforms


def test_draws_follow_the_softmax():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, _VOCAB)).astype(np.float32) * 2
  uniforms = refilling.draw_uniforms(jax.random.key(0), 2, 30000)
  for temperature in (1.0, 2.0):
    drawn = np.asarray(_sample(uniforms, logits, temperature))
    for row, row_logits in zip(drawn, logits):
      counts = np.bincount(row, minlength=_VOCAB)
      assert (
        chi_square.p_value(counts, _softmax(row_logits / temperature)) > 1e-3
      )
    # The other temperature's law is rejected.
    assert (
      chi_square.p_value(
        np.bincount(drawn[0], minlength=_VOCAB),
        _softmax(logits[0] / (3 - temperature)),
      )
      < 1e-9
    )


def test_targets_and_samples_are_independent():
  # Two words of one half each, in different blocks.
  logits = np.full((2, _VOCAB), -np.inf, np.float32)
  logits[:, [5, 300]] = 0
  drawn = np.asarray(
    _sample(refilling.draw_uniforms(jax.random.key(1), 2, 20000), logits, 1.0)
  )
  assert set(np.unique(drawn)) == {5, 300}
  bits = (drawn == 300).astype(int)
  for pairs in (bits[0] + 2 * bits[1], bits[0, :-1:2] + 2 * bits[0, 1::2]):
    assert (
      chi_square.p_value(np.bincount(pairs, minlength=4), np.full(4, 0.25))
      > 1e-3
    )


def test_rare_words_among_frequent_ones():
  # In block 0 words 1 to 127 have 2e-6 each, all the rest is word 0's.
  logits = np.full((1, _VOCAB), -np.inf, np.float32)
  logits[0, 0], logits[0, 1:128] = 0, np.log(2e-6)
  drawn = np.asarray(
    _sample(_grid(1024, 1 - 3e-4, 1, 0.5, axis=1), logits, 1.0)
  )[0]
  # The grid covers the last 3e-4, they have 127 x 2e-6 = 2.54e-4 of it:
  # 1024 x 2.54 / 3 = 867, 6.8 each.
  assert abs(np.sum(drawn > 0) - 867) < 5
  assert drawn.max() == 127 and len(np.unique(drawn)) == 128


def test_rare_blocks():
  # Words 128 to 639 have 1e-6 each: 1.28e-4 a block, 5.12e-4 in all.
  logits = np.full((1, _VOCAB), -np.inf, np.float32)
  logits[0, 0], logits[0, 128:640] = 0, np.log(1e-6)
  drawn = np.asarray(
    _sample(_grid(1024, 1 - 6e-4, 1, 0.25, axis=0), logits, 1.0)
  )[0]
  # 1024 x 1.28 / 6 = 218.5 each; 1024 x 0.88 / 6 = 150 are left.
  np.testing.assert_allclose(
    np.bincount(drawn // 128, minlength=6),
    [150, 218.5, 218.5, 218.5, 218.5, 0],
    atol=3,
  )
  # Within a rare block all words are equally frequent, to the last digit.
  drawn = np.asarray(_sample(_grid(1024, 0, 1, 1 - 3e-4, axis=1), logits, 1.0))[
    0
  ]
  np.testing.assert_array_equal(np.bincount(drawn % 128), 8)
  assert 1 <= drawn[0] // 128 == drawn[-1] // 128 <= 4


def test_edges_of_the_uniforms():
  uniforms = np.array(
    [[[a, b] for a in (0, _BELOW_ONE) for b in (0, _BELOW_ONE)]], np.float32
  )
  flat = np.zeros((1, _VOCAB), np.float32)
  # First and last word of the first and of the last block.
  np.testing.assert_array_equal(
    _sample(uniforms, flat, 1.0), [[0, 127, 640, _VOCAB - 1]]
  )
  # Words without probability are skipped, at both ends too.
  for hole in (-np.inf, np.finfo(np.float32).min, -1e9):
    logits = np.full((1, _VOCAB), hole, np.float32)
    logits[0, [130, 140, 500]] = (1.0, 2.0, -3.0)
    np.testing.assert_array_equal(
      _sample(uniforms, logits, 1.0), [[130, 140, 500, 500]]
    )
  # Large logits do not overflow.
  np.testing.assert_array_equal(
    _sample(uniforms, flat + np.float32(1e30), 1.0), [[0, 127, 640, _VOCAB - 1]]
  )


def test_uniforms_and_draws_by_key():
  draw = lambda seed: refilling.draw_uniforms(jax.random.key(seed), 2, 5)
  np.testing.assert_array_equal(draw(0), draw(0))
  assert not np.any(draw(0) == draw(1))
  assert draw(0).shape == (2, 5, 2)
  logits = np.random.default_rng(1).normal(size=(2, _VOCAB)).astype(np.float32)
  drawn = _sample(draw(0), logits, 1.5)
  assert drawn.dtype == jnp.int32
  np.testing.assert_array_equal(
    drawn, refilling.sample_tokens(draw(0), jnp.asarray(logits), 1.5)
  )
  # bfloat16 logits are drawn from in float32.
  half = jnp.asarray(logits, jnp.bfloat16)
  np.testing.assert_array_equal(
    _sample(draw(0), half, 1.5), _sample(draw(0), half.astype(jnp.float32), 1.5)
  )


def test_no_samples():
  drawn = _sample(
    np.zeros((2, 0, 2), np.float32), np.zeros((2, _VOCAB), np.float32), 1.0
  )
  assert drawn.shape == (2, 0)


def test_refill_at_targets_only():
  captions = np.array([[6, 10, 11, 7]], np.int32)
  is_target = np.array(
    [[[False, True, False, False], [False, True, True, False]]]
  )
  sampled = np.arange(100, 124).reshape(1, 2, 4, 3).astype(np.int32)
  # Copy 0 draws 103 to 105 at its target (100 to 102 belong to [CLS]); copy 1
  # draws 115 to 117 and 118 to 120.
  expected = [
    [
      [6, 103, 11, 7],
      [6, 104, 11, 7],
      [6, 105, 11, 7],
      [6, 115, 118, 7],
      [6, 116, 119, 7],
      [6, 117, 120, 7],
    ]
  ]
  for function in (refilling.refill, jax.jit(refilling.refill)):
    np.testing.assert_array_equal(
      function(*map(jnp.asarray, (captions, is_target, sampled))), expected
    )


def test_refill_of_several_captions():
  rng = np.random.default_rng(2)
  captions = rng.integers(0, 50, (3, 5)).astype(np.int32)
  is_target = rng.random((3, 2, 5)) < 0.4
  sampled = rng.integers(50, 99, (3, 2, 5, 4)).astype(np.int32)
  filled = np.asarray(
    functools.partial(refilling.refill)(
      *map(jnp.asarray, (captions, is_target, sampled))
    )
  )
  for b in range(3):
    for g in range(8):
      k, s = divmod(g, 4)
      np.testing.assert_array_equal(
        filled[b, g],
        np.where(is_target[b, k], sampled[b, k, :, s], captions[b]),
      )
