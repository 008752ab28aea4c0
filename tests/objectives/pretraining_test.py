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
  partners = np.asarray(pretraining.in_batch_partners(jax.random.key(0), 6, 5))
  for row, others in enumerate(partners):
    assert sorted([row, *others]) == [0, 1, 2, 3, 4, 5]
  again = pretraining.in_batch_partners(jax.random.key(0), 6, 5)
  np.testing.assert_array_equal(partners, again)


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
