"""Encoder states with gradient: whatever the cuts, the same."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.models import retrieval
from tagsdc_jax.scoring import encoding, scorer
from tests.scoring import scorer_test

_TEXT_ROWS = np.array([0, 1, 2, 3, 1, 0, 2], np.int32)
_IMAGE_ROWS = np.array([2, 0, 1, 1, 1, 0, 0], np.int32)
_NEEDED = np.array([1, 1, 1, 1, 1, 1, 0], bool)
_OUTPUTS = 6


def _inputs():
  return jax.tree.map(jnp.asarray, scorer_test._inputs())


def _model(rate, recompute=False):
  config = settings.Model(**scorer_test._CONFIG.__dict__
                          | {'dropout_rate': rate})
  return retrieval.RetrievalModel(config, recompute_layers=recompute)


def _encode(rate, widths, chunk, params, texts, images,
            num_outputs=_OUTPUTS, recompute=False):
  return encoding.encode_pairs(
      _model(rate, recompute), params, texts, images, jnp.asarray(_TEXT_ROWS),
      jnp.asarray(_IMAGE_ROWS), jnp.asarray(_NEEDED), jax.random.key(3),
      widths=widths, chunk=chunk, num_outputs=num_outputs)


def _padded(params, texts, images):
  """All rows padded to the maximum, without dropout."""
  pairs = scorer.make_pairs(texts, images, _TEXT_ROWS, _IMAGE_ROWS)
  joined, mask = scorer.join(scorer.stack(texts, images), pairs, 11)
  return retrieval.apply(_model(0.0), params, 'encode', joined, mask,
                         num_outputs=_OUTPUTS)


def _read(states):
  """A scalar of the real states of the needed rows, each weighed its own."""
  texts, images = _inputs()
  lengths = texts.lengths[_TEXT_ROWS] + images.lengths[_IMAGE_ROWS]
  is_read = ((np.arange(_OUTPUTS)[None] < lengths[:, None])
             & _NEEDED[:, None])[..., None]
  weights = np.random.default_rng(5).normal(size=states.shape)
  return jnp.sum(jnp.where(is_read, states * weights.astype(np.float32), 0))


@functools.cache
def _value_and_grads(function):
  texts, images = _inputs()

  def loss(params, text_states, image_states):
    return _read(function(params, scorer.Embedded(text_states, texts.lengths),
                          scorer.Embedded(image_states, images.lengths)))

  value, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(
      scorer_test._params(), texts.states, images.states)
  return value, {'/'.join(map(str, path)): np.asarray(x) for path, x in
                 jax.tree_util.tree_leaves_with_path(grads)}


_one_width = functools.partial(_encode, 0.0, (11,), 7)
_cut = functools.partial(_encode, 0.0, (7, 9, 11), 2)
_dropped = functools.partial(_encode, 0.3, (11,), 7)
_recomputed = functools.partial(_encode, 0.3, (11,), 7, recompute=True)
_dropped_and_cut = functools.partial(_encode, 0.3, (6, 8, 11), 3)


def _assert_same(one, other, tolerance=2e-5):
  (value, grads), (other_value, other_grads) = map(_value_and_grads,
                                                   (one, other))
  np.testing.assert_allclose(value, other_value, rtol=tolerance)
  for name, grad in grads.items():
    scale = max(1.0, np.abs(grad).max())
    np.testing.assert_allclose(other_grads[name] / scale, grad / scale,
                               atol=tolerance, err_msg=name)
  assert any(np.abs(g).max() > 0.1 for g in grads.values())


@pytest.mark.parametrize('cut', [_one_width, _cut])
def test_value_and_gradients_are_those_of_padded_rows(cut):
  _assert_same(_padded, cut)


def test_dropout_is_the_same_however_the_work_is_cut():
  _assert_same(_dropped, _dropped_and_cut)
  assert abs(_value_and_grads(_dropped)[0] - _value_and_grads(_cut)[0]) > 0.1


def test_layers_computed_anew_give_the_same_gradients():
  _assert_same(_dropped, _recomputed)


def test_layers_computed_anew_take_less_memory():
  deep = dataclasses.replace(scorer_test._CONFIG, num_layers=8)
  x = jnp.zeros((64, 11, deep.hidden_size))

  def needed(recompute):
    model = retrieval.RetrievalModel(deep, recompute_layers=recompute)

    def loss(params):
      return jnp.sum(retrieval.apply(
          model, params, 'encode', x, jnp.ones(x.shape[:2], bool),
          num_outputs=1, dropout_key=jax.random.key(0)))
    program = jax.jit(jax.grad(loss)).lower(
        retrieval.parameter_shapes(model)).compile()
    return program.memory_analysis().temp_size_in_bytes

  # Of 7 layers the input is kept, 16 numbers per token, not 200 and more.
  assert needed(True) < 0.5 * needed(False)


def test_rows_draw_their_own_dropout():
  texts, images = _inputs()
  states = np.asarray(_encode(0.3, (11,), 7, scorer_test._params(), texts,
                              images))
  plain = np.asarray(_encode(0.0, (11,), 7, scorer_test._params(), texts,
                             images))
  # Rows 1 and 4 hold one text; rows 2 and 3 one image: none is like another.
  differences = (states - plain)[:6, 0]
  assert np.linalg.matrix_rank(differences, tol=1e-3) == 6
  assert not states[6].any()


def test_rows_without_gradient_are_not_run_backwards(monkeypatch):
  """Counts the chunks of the backward pass."""
  called = []
  run_chunk = encoding.queue.run_chunk

  def count(plan, number, function, widths, chunk):
    jax.debug.callback(lambda rows: called.append(rows), plan.num_chunks)
    return run_chunk(plan, number, function, widths, chunk)

  monkeypatch.setattr(encoding.queue, 'run_chunk', count)
  texts, images = _inputs()

  @jax.jit
  def gradient(params, weights):
    def loss(params):
      states = _encode(0.0, (11,), 2, params, texts, images, num_outputs=1)
      return jnp.sum(states[:, 0, 0] * weights)
    return jax.grad(loss)(params)

  def chunks(weights):
    called.clear()
    grads = gradient(scorer_test._params(), np.array(weights, np.float32))
    jax.block_until_ready(grads)
    jax.effects_barrier()
    return len(called), grads

  # Three chunks of needed rows forward; backward one per two active rows.
  assert chunks([1, 1, 1, 1, 1, 1, 1])[0] == 3 + 3
  assert chunks([0, 0, 1, 0, 0, 0, 1])[0] == 3 + 1
  count, grads = chunks([0, 0, 0, 0, 0, 0, 1])
  assert count == 3
  assert not any(np.any(g) for g in jax.tree.leaves(grads))
