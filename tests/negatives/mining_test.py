"""The hardest of all candidates, whoever is scored only once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays
from tagsdc_jax.engines.packed import scorer
from tagsdc_jax.negatives import generating
from tagsdc_jax.training import candidates, passes
from tests import tiny


def _batch_with_equal_captions(task):
  """Rows 4 and 5 of the pool's texts are the words of row 1."""
  batch = jax.tree.map(jnp.asarray, tiny.make_source(task.settings)[0])
  same = jnp.array([0, 1, 2, 3, 1, 1])
  return dataclasses.replace(batch, pool_texts=jax.tree.map(
      lambda x: x[same], batch.pool_texts)), same


def _scores_one_by_one(task, params, batch):
  """Returns [B, N] of each positive's image with each text of the pool."""
  texts = scorer.Embedded(
      passes.embed_text(task, params, batch.pool_texts.token_ids),
      batch.pool_texts.num_tokens)
  images = scorer.Embedded(passes.embed_image(task, params, batch.images),
                           batch.images.num_regions)
  num_texts, num_images = len(texts.lengths), len(images.lengths)
  pairs = scorer.make_pairs(
      texts, images, jnp.tile(jnp.arange(num_texts), num_images),
      jnp.repeat(jnp.arange(num_images), num_texts))
  full = texts.states.shape[1] + images.states.shape[1]
  return scorer.score_joined(task.model, params, *scorer.join(
      scorer.stack(texts, images), pairs, full)).reshape(num_images, num_texts)


def _generated(batch):
  """Four sentences of each positive, of which the second is valid."""
  num_positives = len(batch.references)
  return generating.Generated(
      token_ids=jnp.repeat(batch.texts.token_ids[:, None], 4, axis=1),
      is_valid=jnp.zeros((num_positives, 4), bool).at[:, 1].set(True),
      is_target=None, mlm_loss=None, mlm_losses=None)


def test_a_text_equal_to_an_own_caption_is_no_negative(world_dir):
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  params = tiny.make_state(task)[1].params
  batch = jax.tree.map(jnp.asarray, tiny.make_source(task.settings)[0])
  # Of six texts four are the first image's own, of which three are negatives
  # of the others still; one is the second's.
  own = jnp.stack([*batch.references[0, jnp.array([1, 0, 1, 3])],
                   batch.references[1, 2], batch.pool_texts.token_ids[5]])
  batch = dataclasses.replace(batch, pool_texts=arrays.Texts(
      own, jnp.sum(own != 0, axis=1)))
  is_other = np.array([[False] * 4 + [True] * 2,
                       [True] * 4 + [False, True], [True] * 6])
  np.testing.assert_array_equal(candidates.other_texts(batch), is_other)
  chosen, logits = candidates.choose_hardest(task, params, batch,
                                             _generated(batch))
  np.testing.assert_array_equal(np.sum(chosen.is_other, axis=1), [2, 3, 3])
  wanted = np.where(is_other, _scores_one_by_one(task, params, batch), -np.inf)
  for row, (texts, counts) in enumerate(zip(np.asarray(chosen.texts),
                                            np.asarray(chosen.is_other))):
    expected = -np.sort(-wanted[row])[:3][counts]
    np.testing.assert_allclose(wanted[row, texts[counts]], expected, atol=1e-5)
    np.testing.assert_allclose(logits[row, 1][counts], expected, atol=1e-5)


def test_equal_captions_of_the_pool_are_scored_once(world_dir, monkeypatch):
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  params = tiny.make_state(task)[1].params
  batch, same = _batch_with_equal_captions(task)
  positives, pool = 3, len(same)
  generated = _generated(batch)
  scored = []
  original = scorer.score_pairs

  def score_pairs(*args, **kwargs):
    scored.append(np.asarray(args[6]))
    return original(*args, **kwargs)

  monkeypatch.setattr(scorer, 'score_pairs', score_pairs)
  chosen, logits = candidates.choose_hardest(task, params, batch, generated)
  of_images, of_texts, of_sentences = np.split(
      scored[0], (positives * pool, 2 * positives * pool))
  assert of_images.all() and of_sentences.sum() == positives
  np.testing.assert_array_equal(
      of_texts.reshape(positives, pool),
      np.tile([True, True, True, True, False, False], (positives, 1)))
  # Each copy is a candidate still, as in the release.
  wanted = np.asarray(_scores_one_by_one(task, params, batch))
  expected = -np.sort(-wanted, axis=1)[:, :3]
  np.testing.assert_allclose(
      np.take_along_axis(wanted, np.asarray(chosen.texts), axis=1), expected,
      atol=1e-5)
  np.testing.assert_allclose(logits[:, 1], expected, atol=1e-5)
  np.testing.assert_array_equal(chosen.sentences[:, 0], 1)
  np.testing.assert_array_equal(
      chosen.is_filled, np.tile([True, False, False], (positives, 1)))
