"""Pretraining: whom a caption meets, and which terms are computed."""

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.objectives import pretraining
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys
from tests import tiny


def test_partners_are_distinct_and_never_the_row_itself():
  is_other = ~jnp.eye(6, dtype=bool)
  find = lambda: np.asarray(
    pretraining.in_batch_partners(jax.random.key(0), is_other, None, 5)
  )
  for row, others in enumerate(find()):
    assert sorted([row, *others]) == [0, 1, 2, 3, 4, 5]
  np.testing.assert_array_equal(find(), find())


def test_similar_partners_are_drawn_more_often():
  # Rows 0 and 1 are of one image; row 2 resembles 3 three times as much as 0.
  numbers = jnp.array([5, 5, 6, 7])
  is_other = numbers[None] != numbers[:, None]
  similar = jnp.zeros((4, 4)).at[2, 3].set(np.log(3))
  draws = jax.vmap(
    lambda key: pretraining.in_batch_partners(key, is_other, similar, 1)
  )(jax.random.split(jax.random.key(1), 4000))[..., 0]
  shares = [np.bincount(draws[:, row], minlength=4) / 4000 for row in range(4)]
  expected = [
    [0, 0, 1 / 2, 1 / 2],
    [0, 0, 1 / 2, 1 / 2],
    [1 / 5, 1 / 5, 0, 3 / 5],
    [1 / 3, 1 / 3, 1 / 3, 0],
  ]
  np.testing.assert_allclose(shares, expected, atol=0.04)  # Five sigma.


def test_alignment_alone_trains_embeddings_alone(world_dir):
  task = tiny.make_task(
    tiny.make_settings(
      'pretrain',
      world_dir,
      losses=settings.Losses(mlm=0.0, alignment=0.5),
      negatives=settings.Negatives(num_in_batch=0),
    )
  )
  _, state = tiny.make_state(task)
  batch = tiny.make_source(task.settings)[0]
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  (loss, (metrics, needed)), gradient = jax.jit(
    jax.value_and_grad(setup.make_phase(task).objective, has_aux=True)
  )(state.params, None, batch, draws)
  assert set(metrics) == {'loss/alignment'}
  np.testing.assert_allclose(loss, 0.5 * metrics['loss/alignment'], rtol=1e-6)
  trained = {
    name for name, x in gradient.items() if any(map(np.any, jax.tree.leaves(x)))
  }
  assert trained == {'text_embeddings', 'image_embeddings'}
  # Regions are projected, forward and for the weights; no pair is encoded.
  assert needed.regions == 2 * np.sum(batch.images.num_regions)
  assert not needed.lengths.size
