import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import arrays, settings
from tagsdc_jax.engines import engine
from tagsdc_jax.negatives import candidates, mask_refill, masked_words, source

_CONFIG = settings.Negatives(num_copies=3, num_samples=4, mask_rate=0.15)
_MASK_ID, _RANGE = 8, (9, 50)


def _batch():
  token_ids = np.array(
    [[6, 11, 12, 13, 7, 0], [6, 21, 22, 23, 24, 7]], np.int32
  )
  counts = np.zeros((2, 4, 6), np.int8)
  counts[0, [0, 1, 2], [1, 2, 3]] = 1
  counts[1, 0, 1:3] = counts[1, 1, 3:5] = 1
  references = np.zeros((2, 2, 6), np.int32)
  references[:, 0] = token_ids
  # Not read by what refills.
  nothing = np.zeros(2, np.int32)
  images = arrays.Images(
    np.zeros((2, 1, 1), np.float32), np.zeros((2, 1, 7), np.float32), nothing
  )
  texts = arrays.Texts(token_ids, np.array([5, 6], np.int32))
  kinds = np.ones((2, 4), np.int8)
  return arrays.MicroBatch(
    nothing,
    nothing,
    texts,
    images,
    counts,
    kinds,
    references,
    texts,
    images,
    nothing,
    nothing,
  )


def _predict(own, params, batch, masked, uniforms, key):
  """Draws 1000 + 100 b + 10 k + s everywhere; the loss is the copy's."""
  shape = uniforms.shape[:-1]
  assert uniforms.shape == (*masked.token_ids.shape, 4, 2)
  b, k, s = (
    jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1, 3)
  )
  losses = jnp.sum(uniforms, axis=(-1, -2))
  return jnp.mean(losses), losses, 1000 + 100 * b + 10 * k + s


class _Engine:
  task = engine.Task(
    None, settings.Settings(negatives=_CONFIG), _MASK_ID, _RANGE, ()
  )


def _write(mask_key, refill_key):
  batch = jax.tree.map(jnp.asarray, _batch())
  table, proposed = candidates.propose(
    (mask_refill.MASK_REFILL,),
    source.Inputs(
      _Engine,
      None,
      None,
      batch,
      source.Keys(mask_key, refill_key, jax.random.key(0)),
    ),
  )
  own = proposed[0]
  ids = table.texts.token_ids[own.text_rows]
  return own.sentences, own.is_valid, ids


@pytest.fixture
def write(monkeypatch):
  """Returns write(mask seed, refill seed), with another prediction if asked."""

  def run(mask_seed, refill_seed, predict=_predict):
    monkeypatch.setattr(masked_words, 'predict', predict)
    return jax.tree.map(
      np.asarray,
      jax.jit(lambda *keys: _write(*keys))(
        jax.random.key(mask_seed), jax.random.key(refill_seed)
      ),
    )

  return run


def test_a_sentence_belongs_to_its_copy(write):
  sentences, is_valid, token_ids = write(0, 1)
  captions = _batch().texts.token_ids
  assert token_ids.shape == (2, 12, 6)
  np.testing.assert_array_equal(sentences.token_ids, token_ids)
  for b in range(2):
    for g in range(12):
      copy, sample = divmod(g, 4)
      is_target = sentences.is_target[b, g]
      np.testing.assert_array_equal(is_target, sentences.is_target[b, 4 * copy])
      assert is_target.any()
      np.testing.assert_array_equal(
        token_ids[b, g],
        np.where(is_target, 1000 + 100 * b + 10 * copy + sample, captions[b]),
      )
      np.testing.assert_array_equal(sentences.originals[b, g], captions[b])
  assert np.all(is_valid)


def test_the_loss_is_passed_on_and_uniforms_are_fresh(write):
  sentences, *_ = write(0, 1)
  other, *_ = write(0, 2)
  assert 0 < sentences.losses['mlm'] != other.losses['mlm']


def test_keys(write):
  first, other = write(0, 1), write(2, 1)
  jax.tree.map(np.testing.assert_array_equal, first, write(0, 1))
  assert not np.array_equal(first[0].is_target, other[0].is_target)
  # The refill key has no say in the masking.
  np.testing.assert_array_equal(first[0].is_target, write(0, 2)[0].is_target)


def test_captions_and_copies_are_not_valid(write):
  captions = jnp.asarray(_batch().texts.token_ids)

  def restore(own, params, batch, masked, uniforms, key):
    right = jnp.broadcast_to(captions[:, None, :, None], uniforms.shape[:-1])
    # Sample 0 is the caption itself, samples 1 and 2 are equal.
    sample = jax.lax.broadcasted_iota(jnp.int32, right.shape, 3)
    drawn = jnp.where(sample == 0, right, jnp.where(sample < 3, 60, 61))
    return jnp.zeros(()), jnp.zeros(masked.token_ids.shape), drawn

  is_valid = write(0, 1, restore)[1].reshape(2, 3, 4)
  assert not np.any(is_valid[..., [0, 2]])
  # Copy 0 comes first; a later copy may repeat it.
  assert np.all(is_valid[:, 0, [1, 3]])
