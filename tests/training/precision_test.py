"""How precise products are: as the settings say, in every pass."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.extend import core

from tagsdc_jax import settings
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys
from tests import tiny

_HIGHEST = (jax.lax.Precision.HIGHEST,) * 2
_EXPECTED = {
  'highest': _HIGHEST,
  'high': (jax.lax.Precision.HIGH,) * 2,
  'default': (jax.lax.Precision.DEFAULT,) * 2,
}


def _products(jaxpr):
  """Yields the products of floats in a program, in all that it calls."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general' and jnp.issubdtype(
      equation.outvars[0].aval.dtype, jnp.floating
    ):
      yield equation
    for value in jax.tree.leaves(
      list(equation.params.values()),
      is_leaf=lambda x: isinstance(x, (core.Jaxpr, core.ClosedJaxpr)),
    ):
      if isinstance(value, core.ClosedJaxpr):
        value = value.jaxpr
      if isinstance(value, core.Jaxpr):
        yield from _products(value)


def _precisions(function, *arguments):
  found = [
    p.params['precision']
    for p in _products(jax.make_jaxpr(function)(*arguments).jaxpr)
  ]
  assert found
  return found


def _make_task(phase, world_dir, precision, **changes):
  config = tiny.make_settings(phase, world_dir, **changes)
  # Several lengths, for the backward pass that runs attention again.
  return tiny.make_task(
    dataclasses.replace(
      config,
      compute=dataclasses.replace(
        config.compute, num_gradient_buckets=2, matmul_precision=precision
      ),
    )
  )


def _gradient_precisions(task):
  params = retrieval.parameter_shapes(task.model)
  batch = jax.tree.map(jnp.asarray, tiny.make_source(task.settings)[0])
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  return _precisions(
    jax.value_and_grad(setup.make_phase(task).objective, has_aux=True),
    params,
    None,
    batch,
    draws,
  )


@pytest.mark.parametrize('phase', ['pretrain', 'dc'])
def test_float32_is_float32_forward_and_backward(phase, world_dir):
  found = _gradient_precisions(_make_task(phase, world_dir, 'highest'))
  assert set(found) == {_HIGHEST}


def test_the_release_s_step_is_float32(world_dir):
  task = _make_task(
    'dc',
    world_dir,
    'highest',
    batch=settings.Batch(1, 1),
    quirks=settings.Quirks(plain_step=True),
  )
  assert set(_gradient_precisions(task)) == {_HIGHEST}
  for name in ('corrected', 'as_released'):
    config = settings.default_config()
    config.compute.matmul_precision = 'default'
    settings.apply_preset(config, name)
    assert config.compute.matmul_precision == (
      'highest' if name == 'as_released' else 'default'
    )


def test_a_coarser_one_is_taken_but_for_the_scores(world_dir):
  found = _gradient_precisions(_make_task('dc', world_dir, 'default'))
  coarse = _EXPECTED['default']
  assert set(found) == {_HIGHEST, coarse}
  # Heads, masking and biases: their number does not grow with the layers.
  assert found.count(coarse) > found.count(_HIGHEST)


@pytest.mark.parametrize('precision', settings.PRECISIONS)
def test_the_last_product_of_a_score_is_float32(precision, world_dir):
  task = _make_task('tags', world_dir, precision)
  params = retrieval.parameter_shapes(task.model)
  states = jnp.zeros((3, 1, task.settings.model.hidden_size))

  def score(params, states):
    return retrieval.apply(task.model, params, 'match_logits', states)

  pooler, head = _precisions(score, params, states)
  assert (pooler, head) == (_EXPECTED[precision], _HIGHEST)
