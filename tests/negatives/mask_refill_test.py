import functools

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.negatives import generating

_CONFIG = settings.Negatives(num_copies=3, num_samples=4, mask_rate=0.15)
_MASK_ID, _RANGE = 8, (9, 50)


def _batch():
  token_ids = np.array([[6, 11, 12, 13, 7, 0], [6, 21, 22, 23, 24, 7]],
                       np.int32)
  counts = np.zeros((2, 4, 6), np.int8)
  counts[0, [0, 1, 2], [1, 2, 3]] = 1
  counts[1, 0, 1:3] = counts[1, 1, 3:5] = 1
  references = np.zeros((2, 2, 6), np.int32)
  references[:, 0] = token_ids
  # Not read when generating.
  nothing = np.zeros(0, np.int32)
  texts = arrays.Texts(token_ids, np.array([5, 6], np.int32))
  return arrays.MicroBatch(
      nothing, texts, arrays.Images(nothing, nothing, nothing), counts,
      references, texts, arrays.Images(nothing, nothing, nothing), nothing,
      nothing)


def _fill(masked, uniforms):
  """Draws 1000 + 100 b + 10 k + s everywhere; the loss is the copy's."""
  shape = uniforms.shape[:-1]
  assert uniforms.shape == (*masked.token_ids.shape, 4, 2)
  b, k, s = (jax.lax.broadcasted_iota(jnp.int32, shape, axis)
             for axis in (0, 1, 3))
  losses = jnp.sum(uniforms, axis=(-1, -2))
  return jnp.mean(losses), losses, 1000 + 100 * b + 10 * k + s


def _generate(mask_key, refill_key, fill=_fill):
  return generating.generate(mask_key, refill_key, _batch(), fill, _CONFIG,
                             mask_id=_MASK_ID, random_range=_RANGE)


@functools.cache
def _generated(mask_seed, refill_seed):
  return jax.tree.map(np.asarray, _program()(
      jax.random.key(mask_seed), jax.random.key(refill_seed)))


@functools.cache
def _program():
  return jax.jit(_generate)


def test_candidate_belongs_to_its_copy():
  generated = _generated(0, 1)
  captions = _batch().texts.token_ids
  assert generated.token_ids.shape == (2, 12, 6)
  for b in range(2):
    for g in range(12):
      copy, sample = divmod(g, 4)
      is_target = generated.is_target[b, copy]
      assert is_target.any()
      np.testing.assert_array_equal(
          generated.token_ids[b, g],
          np.where(is_target, 1000 + 100 * b + 10 * copy + sample,
                   captions[b]))
  assert np.all(generated.is_valid)


def test_losses_are_passed_on_and_uniforms_are_fresh():
  generated = _generated(0, 1)
  assert generated.mlm_losses.shape == (2, 3, 6)
  np.testing.assert_allclose(generated.mlm_loss,
                             np.mean(generated.mlm_losses), rtol=1e-6)
  assert len(np.unique(generated.mlm_losses)) == 36
  assert not np.any(generated.mlm_losses == _generated(0, 2).mlm_losses)


def test_keys():
  first, other = _generated(0, 1), _generated(2, 1)
  again = _program()(jax.random.key(0), jax.random.key(1))
  jax.tree.map(np.testing.assert_array_equal, first, again)
  assert not np.array_equal(first.is_target, other.is_target)
  # The refill key has no say in the masking.
  np.testing.assert_array_equal(first.is_target, _generated(0, 2).is_target)


def test_captions_and_copies_are_not_valid():
  captions = jnp.asarray(_batch().texts.token_ids)

  def restore(masked, uniforms):
    right = jnp.broadcast_to(captions[:, None, :, None], uniforms.shape[:-1])
    # Sample 0 is the caption itself, samples 1 and 2 are equal.
    sample = jax.lax.broadcasted_iota(jnp.int32, right.shape, 3)
    drawn = jnp.where(sample == 0, right, jnp.where(sample < 3, 60, 61))
    return jnp.zeros(()), jnp.zeros(masked.token_ids.shape), drawn

  generated = jax.jit(functools.partial(_generate, fill=restore))(
      jax.random.key(0), jax.random.key(1))
  is_valid = np.asarray(generated.is_valid).reshape(2, 3, 4)
  assert not np.any(is_valid[..., [0, 2]])
  # Copy 0 comes first; a later copy may repeat it.
  assert np.all(is_valid[:, 0, [1, 3]])


def test_take_rows():
  rows = np.arange(2 * 4 * 3).reshape(2, 4, 3)
  indices = np.array([[3, 0, 3], [1, 2, 0]], np.int32)
  expected = np.stack([rows[b][indices[b]] for b in range(2)])
  np.testing.assert_array_equal(
      generating.take_rows(jnp.asarray(rows), jnp.asarray(indices)), expected)
  np.testing.assert_array_equal(
      generating.take_rows(jnp.asarray(rows[..., 0]), jnp.asarray(indices)),
      expected[..., 0])
