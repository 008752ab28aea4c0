"""The hardest of all candidates, whoever is scored only once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays
from tagsdc_jax.engines import padded
from tagsdc_jax.engines.packed import scoring
from tagsdc_jax.negatives import candidates, mining, retrieved, source
from tagsdc_jax.runs import setup
from tests import tiny


def _batch_with_equal_captions(task):
  """Rows 4 and 5 of the pool's texts are the words of row 1."""
  batch = jax.tree.map(jnp.asarray, tiny.make_source(task.settings)[0])
  same = jnp.array([0, 1, 2, 3, 1, 1])
  return dataclasses.replace(
    batch, pool_texts=jax.tree.map(lambda x: x[same], batch.pool_texts)
  ), same


def _scores_one_by_one(task, params, batch):
  """Returns [B, N] of each positive's image with each text of the pool."""
  engine = padded.Padded(task)
  shape = len(batch.images.num_regions), len(batch.pool_texts.num_tokens)
  images, texts = (x.ravel() for x in np.indices(shape))
  return engine.score(
    params,
    engine.embed_text(params, batch.pool_texts),
    engine.embed_image(params, batch.images),
    texts,
    images,
    np.ones(images.shape, bool),
  ).reshape(shape)


def _four_sentences(inputs):
  """Four sentences of each positive, of which the second is valid."""
  texts = inputs.batch.texts
  ids = jnp.repeat(texts.token_ids[:, None], 4, axis=1)
  # None is the caption itself.
  ids = ids.at[:, :, 1].set(jnp.arange(4)[None] + 90)
  shape = ids.shape[:2]
  return source.Sentences(
    ids,
    jnp.repeat(texts.num_tokens[:, None], 4, axis=1),
    jnp.zeros(shape, bool).at[:, 1].set(True),
    jnp.zeros(ids.shape, bool),
    ids,
  )


_SOURCES = (
  retrieved.IMAGES,
  retrieved.TEXTS,
  source.Source('four', _four_sentences),
)


def _hardest(task, params, batch, num_hard=(3, 3, 3)):
  engine = setup.make_engine(task)
  keys = source.Keys(*jax.random.split(jax.random.key(0), 3))
  table, proposed = candidates.propose(
    _SOURCES, source.Inputs(engine, params, None, batch, keys)
  )
  return (
    table,
    proposed,
    mining.hardest(engine, params, table, proposed, num_hard),
  )


def test_a_text_equal_to_an_own_caption_is_no_negative(world_dir):
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  params = tiny.make_state(task)[1].params
  batch = jax.tree.map(jnp.asarray, tiny.make_source(task.settings)[0])
  # Of six texts four are the first image's own, of which three are negatives
  # of the others still; one is the second's.
  own = jnp.stack(
    [
      *batch.references[0, jnp.array([1, 0, 1, 3])],
      batch.references[1, 2],
      batch.pool_texts.token_ids[5],
    ]
  )
  batch = dataclasses.replace(
    batch, pool_texts=arrays.Texts(own, jnp.sum(own != 0, axis=1))
  )
  is_other = np.array(
    [[False] * 4 + [True] * 2, [True] * 4 + [False, True], [True] * 6]
  )
  np.testing.assert_array_equal(retrieved.other_texts(batch), is_other)
  _, _, selected = _hardest(task, params, batch)
  filled = np.asarray(selected.is_filled[:, 1])
  np.testing.assert_array_equal(np.sum(filled, axis=1), [2, 3, 3])
  wanted = np.where(is_other, _scores_one_by_one(task, params, batch), -np.inf)
  for row, (texts, counts) in enumerate(
    zip(np.asarray(selected.indices[:, 1]), filled)
  ):
    expected = -np.sort(-wanted[row])[:3][counts]
    np.testing.assert_allclose(wanted[row, texts[counts]], expected, atol=1e-5)
    np.testing.assert_allclose(
      selected.logits[row, 1][counts], expected, atol=1e-5
    )


def test_equal_captions_of_the_pool_are_scored_once(world_dir, monkeypatch):
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  params = tiny.make_state(task)[1].params
  batch, same = _batch_with_equal_captions(task)
  positives, pool = 3, len(same)
  scored = []
  original = scoring.score_pairs

  def score_pairs(*args, **kwargs):
    scored.append(np.asarray(args[6]))
    return original(*args, **kwargs)

  monkeypatch.setattr(scoring, 'score_pairs', score_pairs)
  table, proposed, selected = _hardest(task, params, batch)
  of_images, of_texts, of_sentences = np.split(
    scored[0], (positives * pool, 2 * positives * pool)
  )
  assert of_images.all() and of_sentences.sum() == positives
  np.testing.assert_array_equal(
    of_texts.reshape(positives, pool),
    np.tile([True, True, True, True, False, False], (positives, 1)),
  )
  # Each copy is a candidate still, as in the release.
  wanted = np.asarray(_scores_one_by_one(task, params, batch))
  expected = -np.sort(-wanted, axis=1)[:, :3]
  np.testing.assert_allclose(
    np.take_along_axis(wanted, np.asarray(selected.indices[:, 1]), axis=1),
    expected,
    atol=1e-5,
  )
  np.testing.assert_allclose(selected.logits[:, 1], expected, atol=1e-5)
  np.testing.assert_array_equal(selected.indices[:, 2, 0], 1)
  np.testing.assert_array_equal(
    selected.is_filled[:, 2], np.tile([True, False, False], (positives, 1))
  )

  # What is selected carries its own rows of the table.
  own = np.arange(positives)[:, None]
  np.testing.assert_array_equal(selected.text_rows[:, 0], own + [[0] * 3])
  np.testing.assert_array_equal(
    selected.image_rows[:, 0], positives + selected.indices[:, 0]
  )
  np.testing.assert_array_equal(
    selected.image_rows[:, 1:], np.tile(own[..., None], (1, 2, 3))
  )
  sentence = table.texts.token_ids[selected.text_rows[:, 2, 0]]
  np.testing.assert_array_equal(sentence[:, 1], [91] * positives)
  words = mining.words_of(table, proposed, selected)
  np.testing.assert_array_equal(words.token_ids[:, 2, 0], sentence)
  assert not np.any(words.token_ids[:, :2])
  np.testing.assert_array_equal(
    np.sum(words.is_token, axis=-1),
    [[[0] * 3, [0] * 3, [n, 0, 0]] for n in np.asarray(batch.texts.num_tokens)],
  )


def test_each_source_has_its_own_number(world_dir):
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  params = tiny.make_state(task)[1].params
  batch = jax.tree.map(jnp.asarray, tiny.make_source(task.settings)[0])
  *_, all_three = _hardest(task, params, batch)
  # More of the sentences than there are candidates.
  *_, selected = _hardest(task, params, batch, (1, 2, 5))
  assert selected.is_filled.shape == (3, 3, 5)
  np.testing.assert_array_equal(
    np.sum(selected.is_filled, axis=(0, 2)), [3, 6, 3]
  )
  np.testing.assert_array_equal(
    selected.indices[:, :2, 0], all_three.indices[:, :2, 0]
  )
  assert np.all(np.asarray(selected.text_rows) < 3 + 6 + 12)
