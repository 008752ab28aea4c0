"""Stages 1 and 2: jitted equals unjitted, and positives without negatives."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.negatives import filters
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys
from tests import tiny


def _first_batch(task):
  return tiny.make_source(task.settings)[0]


@pytest.mark.skipif(
  not os.environ.get('TAGSDC_SLOW_TESTS'), reason='set TAGSDC_SLOW_TESTS=1'
)
def test_jitted_equals_unjitted(world_dir):
  # As little as there can be: without jit every operation is a call.
  task = tiny.make_task(
    tiny.make_settings(
      'dc',
      world_dir,
      batch=settings.Batch(1, 1),
      negatives=settings.Negatives(
        pool_size=2, num_hard=2, num_copies=2, num_samples=2
      ),
      compute=settings.Compute(
        target_chunk=32,
        score_tokens=999,
        gradient_tokens=999,
        num_score_buckets=1,
        num_gradient_buckets=1,
      ),
      model=settings.Model(
        num_layers=1,
        hidden_size=8,
        num_heads=1,
        intermediate_size=8,
        max_positions=32,
        dropout_rate=0.1,
        initializer_range=0.3,
      ),
    )
  )
  _, state = tiny.make_state(task)
  batch = jax.tree.map(jnp.asarray, _first_batch(task))
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  objective = setup.make_phase(task).objective
  loss, (parts, _) = jax.jit(objective)(state.params, None, batch, draws)
  with jax.disable_jit():
    plain_loss, (plain_parts, _) = objective(state.params, None, batch, draws)
  np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)
  for name in parts:
    np.testing.assert_allclose(
      parts[name], plain_parts[name], rtol=1e-4, atol=1e-6, err_msg=name
    )


def test_positives_without_negatives_count_nothing(world_dir, monkeypatch):
  monkeypatch.setattr(
    filters,
    'valid_candidates',
    lambda candidates, *_, **options: jnp.zeros(candidates.shape[:2], bool),
  )
  task = tiny.make_task(tiny.make_settings('dc', world_dir))
  _, state = tiny.make_state(task)
  batch = _first_batch(task)
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  (_, (parts, _)), grads = jax.jit(
    jax.value_and_grad(setup.make_phase(task).objective, has_aux=True)
  )(state.params, None, batch, draws)
  for name in (
    'loss/triplet_mask_refill',
    'loss/discrimination_mask_refill',
    'loss/correction_mask_refill',
    'mask_refill_filled',
  ):
    assert parts[name] == 0, name
  assert parts['loss/mlm'] > 0 and parts['loss/triplet_images'] > 0
  assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))
  assert not np.any(grads['disc_output']['kernel'])
