"""Losses of pairs with their gradient: whatever the cuts, the same."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.engines import engine, pair_tokens
from tagsdc_jax.engines.packed import loss_and_grad
from tagsdc_jax.models import retrieval
from tests.engines import pair_tokens_test

_TEXT_ROWS = np.array([0, 1, 2, 3, 1, 0, 2], np.int32)
_IMAGE_ROWS = np.array([2, 0, 1, 1, 1, 0, 0], np.int32)
_NEEDED = np.array([1, 1, 1, 1, 1, 1, 0], bool)
_LIKELY = np.array([0, 1, 0, 1, 1, 0, 1], bool)
_READS_ALL = np.array([1, 0, 0, 1, 0, 0, 1], bool)
_OUTPUTS = 6


def _inputs():
  return jax.tree.map(jnp.asarray, pair_tokens_test._inputs())


def _model(rate, recompute=False):
  config = settings.Model(
    **pair_tokens_test._CONFIG.__dict__ | {'dropout_rate': rate}
  )
  return retrieval.RetrievalModel(config, recompute_layers=recompute)


def _constants(factors, reads_all):
  """Which states are read, how each of them weighs, and factors per row."""
  texts, images = _inputs()
  lengths = texts.lengths[_TEXT_ROWS] + images.lengths[_IMAGE_ROWS]
  is_read = np.arange(_OUTPUTS)[None] < lengths[:, None]
  if reads_all is not None:
    is_read &= reads_all[:, None] | (np.arange(_OUTPUTS)[None] == 0)
  weights = np.random.default_rng(5).normal(
    size=(len(_NEEDED), _OUTPUTS, pair_tokens_test._CONFIG.hidden_size)
  )
  return (
    is_read,
    (0.2 * weights).astype(np.float32),
    jnp.asarray(factors, jnp.float32),
  )


def _row_losses(heads, states, inputs, constants):
  is_read, weights, factors = constants
  scale = heads['scale'][None, None]
  read = jnp.where(is_read[..., None], states * scale * weights, 0)
  values = jnp.sum(read, axis=(1, 2)) - inputs
  return jnp.sum(factors * jnp.square(values)), (values, states)


def _sum(
  rate,
  buckets,
  num_tokens,
  params,
  heads,
  texts,
  images,
  inputs,
  *,
  recompute=False,
  factors=(1, 2, 1, 1, 3, 1, 5),
  likely=_LIKELY,
  reads_all=None,
):
  rows = engine.Rows(
    *jax.tree.map(
      jnp.asarray,
      (
        _TEXT_ROWS,
        _IMAGE_ROWS,
        _NEEDED,
        likely,
        inputs,
        _constants(factors, reads_all),
        reads_all,
      ),
    )
  )
  return loss_and_grad.sum_losses(
    _row_losses,
    _model(rate, recompute),
    params,
    heads,
    texts,
    images,
    rows,
    jax.random.key(3),
    buckets=buckets,
    num_tokens=num_tokens,
    num_outputs=_OUTPUTS,
  )


def _padded(
  params,
  heads,
  texts,
  images,
  inputs,
  factors=(1, 2, 1, 1, 3, 1, 5),
  reads_all=None,
):
  """All rows padded to the maximum, without dropout."""
  pairs = pair_tokens.make_pairs(texts, images, _TEXT_ROWS, _IMAGE_ROWS)
  joined, mask = pair_tokens.join(pair_tokens.stack(texts, images), pairs, 11)
  states = retrieval.apply(
    _model(0.0), params, 'encode', joined, mask, num_outputs=_OUTPUTS
  )
  return _row_losses(
    heads, states, inputs, _constants(np.where(_NEEDED, factors, 0), reads_all)
  )


def _heads():
  return {'scale': jnp.linspace(0.5, 1.5, pair_tokens_test._CONFIG.hidden_size)}


def _row_inputs():
  return jnp.linspace(-1.0, 1.0, len(_NEEDED))


@functools.cache
def _value_and_grads(function):
  """Returns total, what is read of the rows, gradients by name."""
  texts, images = _inputs()

  def loss(params, heads, text_states, image_states, inputs):
    total, values = function(
      params,
      heads,
      engine.Embedded(text_states, texts.lengths),
      engine.Embedded(image_states, images.lengths),
      inputs,
    )
    return 0.5 * total, values  # Not 1: the backward pass has to scale.

  (total, (values, _)), grads = jax.jit(
    jax.value_and_grad(loss, argnums=(0, 1, 2, 3, 4), has_aux=True)
  )(
    pair_tokens_test._params(),
    _heads(),
    texts.states,
    images.states,
    _row_inputs(),
  )
  return (
    total,
    np.asarray(values),
    {
      '/'.join(map(str, path)): np.asarray(x)
      for path, x in jax.tree_util.tree_leaves_with_path(grads)
    },
  )


_one_bucket = functools.partial(_sum, 0.0, (11,), 77)
_cut = functools.partial(_sum, 0.0, (7, 9, 11), 23)
_dropped = functools.partial(_sum, 0.3, (11,), 77)
_recomputed = functools.partial(_sum, 0.3, (11,), 77, recompute=True)
_dropped_and_cut = functools.partial(_sum, 0.3, (6, 8, 11), 33, likely=~_LIKELY)


_some = functools.partial(_sum, 0.0, (7, 9, 11), 23, reads_all=_READS_ALL)
_some_padded = functools.partial(_padded, reads_all=_READS_ALL)
# In one chunk, where all states of all rows are there, and in several.
_some_dropped = functools.partial(_sum, 0.3, (11,), 77, reads_all=_READS_ALL)
_some_dropped_and_cut = functools.partial(
  _sum, 0.3, (6, 8, 11), 22, reads_all=_READS_ALL
)


def _assert_same(one, other, tolerance=2e-5):
  (total, values, grads), (other_total, other_values, other_grads) = map(
    _value_and_grads, (one, other)
  )
  np.testing.assert_allclose(total, other_total, rtol=tolerance)
  np.testing.assert_allclose(
    values[_NEEDED], other_values[_NEEDED], atol=tolerance
  )
  for name, grad in grads.items():
    scale = max(1.0, np.abs(grad).max())
    np.testing.assert_allclose(
      other_grads[name] / scale, grad / scale, atol=tolerance, err_msg=name
    )
  assert any(np.abs(g).max() > 0.1 for g in grads.values())


@pytest.mark.parametrize('cut', [_one_bucket, _cut])
def test_value_and_gradients_are_those_of_padded_rows(cut):
  _assert_same(_padded, cut)
  grads = _value_and_grads(cut)[2]
  of_inputs, of_heads = grads['[4]'], grads["[1]/['scale']"]
  assert np.all(of_inputs[_NEEDED] != 0) and not of_inputs[~_NEEDED].any()
  assert np.all(of_heads != 0)


def test_rows_of_which_only_the_first_state_is_read():
  _assert_same(_some_padded, _some)
  _assert_same(_some_dropped, _some_dropped_and_cut)
  assert abs(_value_and_grads(_some)[0] - _value_and_grads(_cut)[0]) > 0.1


def test_states_that_nothing_reads_are_not_computed():
  texts, images = _inputs()
  _, (_, states) = jax.jit(_some_dropped_and_cut)(
    pair_tokens_test._params(), _heads(), texts, images, _row_inputs()
  )
  # By group and length, in chunks of 22 tokens: rows 3, 0 | 1, 4 | 5, 2.
  has_others = np.asarray(states[:, 1:]).any(axis=(1, 2))
  np.testing.assert_array_equal(has_others, [1, 0, 0, 1, 0, 0, 0])
  assert np.asarray(states[:, 0]).any(axis=1).tolist() == _NEEDED.tolist()


def test_dropout_is_the_same_however_the_work_is_cut():
  _assert_same(_dropped, _dropped_and_cut)
  assert abs(_value_and_grads(_dropped)[0] - _value_and_grads(_cut)[0]) > 0.1


def test_layers_computed_anew_give_the_same_gradients():
  _assert_same(_dropped, _recomputed)


def test_layers_computed_anew_take_less_memory():
  deep = dataclasses.replace(pair_tokens_test._CONFIG, num_layers=8)
  x = jnp.zeros((64, 11, deep.hidden_size))

  def needed(recompute):
    model = retrieval.RetrievalModel(deep, recompute_layers=recompute)

    def loss(params):
      return jnp.sum(
        retrieval.apply(
          model,
          params,
          'encode',
          x,
          jnp.ones(x.shape[:2], bool),
          num_outputs=1,
          dropout_key=jax.random.key(0),
        )
      )

    program = (
      jax.jit(jax.grad(loss)).lower(retrieval.parameter_shapes(model)).compile()
    )
    return program.memory_analysis().temp_size_in_bytes

  # Of 7 layers the input is kept, 16 numbers per token, not 200 and more.
  assert needed(True) < 0.5 * needed(False)


@pytest.mark.parametrize('cut', [_one_bucket, _dropped_and_cut])
def test_without_a_gradient_the_values_are_the_same(cut):
  total, (values, _) = jax.jit(cut)(
    pair_tokens_test._params(), _heads(), *_inputs(), _row_inputs()
  )
  expected = _value_and_grads(cut)
  np.testing.assert_allclose(0.5 * total, expected[0], rtol=1e-5)
  np.testing.assert_allclose(values, expected[1], atol=1e-5)


def test_rows_draw_their_own_dropout():
  arguments = (pair_tokens_test._params(), _heads(), *_inputs(), _row_inputs())
  states, plain = (
    np.asarray(cut(*arguments)[1][1]) for cut in (_dropped, _one_bucket)
  )
  # Rows 1 and 4 hold one text; rows 2 and 3 one image: none is like another.
  differences = (states - plain)[:6, 0]
  assert np.linalg.matrix_rank(differences, tol=1e-3) == 6
  assert not states[6].any()


def test_values_have_no_gradient():
  def read(params):
    _, (values, _) = _one_bucket(params, _heads(), *_inputs(), _row_inputs())
    return jnp.sum(values)

  grads = jax.grad(read)(pair_tokens_test._params())
  assert not any(np.any(g) for g in jax.tree.leaves(grads))


def test_chunks_without_a_loss_are_not_run_backward(monkeypatch):
  called = []

  @jax.custom_vjp
  def spy(x):
    return x

  def backward(_, cotangent):
    jax.debug.callback(lambda: called.append(1))
    return (cotangent,)

  spy.defvjp(lambda x: (x, ()), backward)
  row_losses = _row_losses
  monkeypatch.setitem(
    globals(),
    '_row_losses',
    lambda heads, states, *others: row_losses(heads, spy(states), *others),
  )

  @functools.partial(jax.jit, static_argnums=0)
  def gradient(likely, factors):
    def loss(params):
      return _sum(
        0.0,
        (11,),
        22,
        params,
        _heads(),
        *_inputs(),
        _row_inputs(),
        factors=factors,
        likely=np.array(likely, bool),
      )[0]

    return jax.grad(loss)(pair_tokens_test._params())

  def chunks(likely, factors):
    called.clear()
    grads = jax.block_until_ready(gradient(likely, factors))
    jax.effects_barrier()
    return len(called), grads

  unknown, two = (0,) * 7, (0, 1, 1, 0, 0, 0, 0)
  # Three chunks of needed rows.
  assert chunks(unknown, (1, 1, 1, 1, 1, 1, 1))[0] == 3
  # Two rows with a loss, by length far apart, side by side when they are told.
  count, grads = chunks(unknown, two)
  assert count == 2
  fewer, same = chunks(two, two)
  assert fewer == 1
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-5), grads, same
  )
  count, grads = chunks(unknown, (0, 0, 0, 0, 0, 0, 1))
  assert count == 0
  assert not any(np.any(g) for g in jax.tree.leaves(grads))
