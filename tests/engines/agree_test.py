"""Both engines minimize the same: losses and gradients, with dropout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys
from tests import tiny

_ALL = ('images', 'texts', 'mask_refill', 'static_refill', 'word_swap')


def _task(phase, world_dir, engine, **changes):
  config = tiny.make_settings(phase, world_dir)
  return tiny.make_task(
    dataclasses.replace(
      config,
      compute=dataclasses.replace(
        config.compute,
        engine=engine,
        num_score_buckets=2,
        num_gradient_buckets=2,
      ),
      model=dataclasses.replace(config.model, num_layers=2),
      negatives=dataclasses.replace(config.negatives, **changes),
    )
  )


@pytest.mark.parametrize(
  'phase, changes',
  [
    ('pretrain', {}),
    (
      'dc',
      {
        'sources': _ALL,
        'unit': 'both',
        'num_hard_by_source': (1, 2, 3, 4, 2),
        'refill_rounds': 2,
      },
    ),
  ],
)
def test_both_engines(phase, changes, world_dir):
  found = []
  for engine in setup.ENGINES:
    task = _task(phase, world_dir, engine, **changes)
    _, state = tiny.make_state(task)
    # Other ones, so that the frozen writer does not write the same.
    start = (
      None
      if state.start_params is None
      else jax.tree.map(lambda x: x + 0.1, state.params)
    )
    objective = jax.jit(
      jax.value_and_grad(setup.make_phase(task).objective, has_aux=True)
    )
    source = tiny.make_source(task.settings)
    for number in range(2):
      batch = source[number]
      draws = keys.micro_batch_keys(0, jnp.int32(5), batch.number)
      found.append(jax.device_get(objective(state.params, start, batch, draws)))
  for packed, padded in zip(found[:2], found[2:], strict=True):
    (loss, (metrics, work)), grads = packed
    (plain_loss, (plain_metrics, plain_work)), plain_grads = padded
    np.testing.assert_allclose(plain_loss, loss, rtol=1e-5)
    assert metrics.keys() == plain_metrics.keys()
    for name, value in metrics.items():
      np.testing.assert_allclose(
        plain_metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name
      )
    jax.tree.map(np.testing.assert_array_equal, work, plain_work)
    for ours, theirs in zip(
      jax.tree.leaves(grads), jax.tree.leaves(plain_grads), strict=True
    ):
      np.testing.assert_allclose(theirs, ours, atol=2e-5, rtol=1e-3)
