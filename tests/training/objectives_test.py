"""Objectives: jitted equals unjitted, and positives without negatives."""

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.negatives import selecting
from tagsdc_jax.training import keys, objectives
from tests import tiny


def _first_batch(task):
  return tiny.make_source(task.settings)[0]


def test_jitted_equals_unjitted(world_dir):
  # As little as there can be: without jit every operation is a call.
  task = tiny.make_task(tiny.make_settings(
      'dc', world_dir, batch=settings.Batch(1, 1),
      negatives=settings.Negatives(pool_size=2, num_hard=2, num_copies=2,
                                   num_samples=2),
      compute=settings.Compute(
          target_chunk=32, score_tokens=99, gradient_tokens=99, num_widths=1,
          num_gradient_widths=1),
      model=settings.Model(
          num_layers=2, hidden_size=8, num_heads=1, intermediate_size=8,
          max_positions=32, dropout_rate=0.1, initializer_range=0.3)))
  _, state = tiny.make_state(task)
  batch = jax.tree.map(jnp.asarray, _first_batch(task))
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  objective = objectives.make_objective(task)
  loss, parts = jax.jit(objective)(state.params, batch, draws)
  with jax.disable_jit():
    plain_loss, plain_parts = objective(state.params, batch, draws)
  np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)
  for name in parts:
    np.testing.assert_allclose(parts[name], plain_parts[name], rtol=1e-4,
                               atol=1e-6, err_msg=name)


def test_positives_without_negatives_count_nothing(world_dir, monkeypatch):
  monkeypatch.setattr(
      selecting, 'valid_candidates',
      lambda candidates, *_, **options: jnp.zeros(candidates.shape[:2], bool))
  task = tiny.make_task(tiny.make_settings('dc', world_dir))
  _, state = tiny.make_state(task)
  batch = _first_batch(task)
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  (_, parts), grads = jax.jit(jax.value_and_grad(
      objectives.make_objective(task), has_aux=True))(
          state.params, batch, draws)
  for name in ('synthetic', 'discrimination', 'correction',
               'filled_negatives'):
    assert parts[name] == 0, name
  assert parts['mlm'] > 0 and parts['text_to_image'] > 0
  assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))
  assert not np.any(grads['disc_output']['kernel'])


def test_partners_are_distinct_and_never_the_row_itself():
  partners = np.asarray(objectives.in_batch_partners(jax.random.key(0), 6, 5))
  for row, others in enumerate(partners):
    assert sorted([row, *others]) == [0, 1, 2, 3, 4, 5]
  again = objectives.in_batch_partners(jax.random.key(0), 6, 5)
  np.testing.assert_array_equal(partners, again)
