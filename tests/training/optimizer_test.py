"""AdamW, schedule and clipping, by hand and against recorded updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tagsdc_jax import settings
from tagsdc_jax.models import retrieval
from tagsdc_jax.training import optimizer
from tests.golden import reading

_CONFIG = settings.Optimizer(
  learning_rate=0.1, warmup_updates=4, weight_decay=0.5, clip_norm=2.0
)


def _run(tx, params, gradients):
  """Returns the parameters after each update."""

  @jax.jit
  def update(gradient, state, params):
    changes, state = tx.update(gradient, state, params)
    return optax.apply_updates(params, changes), state

  state, history = jax.jit(tx.init)(params), []
  for gradient in gradients:
    params, state = update(gradient, state, params)
    history.append(params)
  return history, state


def test_two_updates_by_hand():
  # beta = (0.9, 0.98), eps = 1e-6, rates 0.1 x 1/4 and 0.1 x 2/4.
  # Update 1, g = 2: m = 0.2, v = 0.08; sqrt(1 - 0.98) / (1 - 0.9) x m /
  # sqrt(v) = 1.41421 x 0.2 / 0.282843 = 1, so the step is the rate, 0.025.
  # p = 1 - 0.025 = 0.975, then decayed: 0.975 (1 - 0.025 x 0.5) = 0.9628125.
  # Update 2, g = -1: m = 0.18 - 0.1 = 0.08, v = 0.0784 + 0.02 = 0.0984;
  # sqrt(1 - 0.9604) / (1 - 0.81) = 1.047356; x 0.08 / 0.313688 = 0.267108;
  # p = 0.9628125 - 0.05 x 0.267108 = 0.9494571, x (1 - 0.025) = 0.9257207.
  tx = optimizer.bert_adamw(_CONFIG, 20)
  params = {'kernel': np.float32(1), 'bias': np.float32(1)}
  gradients = [
    jax.tree.map(lambda _, g=g: np.float32(g), params) for g in (2, -1)
  ]
  (first, second), state = _run(tx, params, gradients)
  np.testing.assert_allclose(first['kernel'], 0.9628125, rtol=2e-6)
  np.testing.assert_allclose(second['kernel'], 0.9257207, rtol=2e-6)
  # Without decay: 1 - 0.025, then - 0.05 x 0.267108.
  np.testing.assert_allclose(first['bias'], 0.975, rtol=2e-6)
  np.testing.assert_allclose(second['bias'], 0.9616446, rtol=2e-6)
  assert state.updates == 2
  np.testing.assert_allclose(state.first['kernel'], 0.08, rtol=1e-5)
  np.testing.assert_allclose(state.second['kernel'], 0.0984, rtol=1e-5)


def test_epsilon_joins_before_the_bias_correction():
  # g = 1e-6: m = 1e-7, sqrt(v) = 1.41421e-7; 1.41421 x 1e-7 / 1.141421e-6 =
  # 0.1239. (Behind the correction it would be 1e-6 / 2e-6 = 0.5.)
  tx = optimizer.bert_adamw(_CONFIG, 20)
  (after,), _ = _run(tx, {'bias': np.float32(0)}, [{'bias': np.float32(1e-6)}])
  np.testing.assert_allclose(after['bias'], -0.025 * 0.123900, rtol=1e-4)


def test_decay_shrinks_weights_at_zero_gradient():
  tx = optimizer.bert_adamw(_CONFIG, 20)
  params = {'kernel': np.float32(1), 'bias': np.float32(1)}
  zeros = jax.tree.map(np.zeros_like, params)
  (first, second), _ = _run(tx, params, [zeros, zeros])
  # 1 - 0.025 x 0.5, then x (1 - 0.05 x 0.5).
  np.testing.assert_allclose(first['kernel'], 0.9875, rtol=1e-6)
  np.testing.assert_allclose(second['kernel'], 0.9875 * 0.975, rtol=1e-6)
  assert second['bias'] == 1


def test_schedule_by_hand():
  config = settings.Optimizer(learning_rate=1e-3, warmup_updates=5)
  updates = jnp.array([1, 4, 5, 6, 12, 19, 20, 21])
  # n / 5 below 5, then (20 - n) / 15; the floor from update 20 on.
  expected = [
    2e-4,
    8e-4,
    1e-3,
    1e-3 * 14 / 15,
    1e-3 * 8 / 15,
    1e-3 / 15,
    1e-8,
    1e-8,
  ]
  rates = jax.jit(lambda n: optimizer.learning_rate(config, 20, n))(updates)
  np.testing.assert_allclose(rates, expected, rtol=1e-6)
  assert rates.dtype == jnp.float32


def test_schedule_is_the_recorded_one():
  table = reading.load('optimizer.npz')['lr_schedule/table']
  checked = 0
  for total, warmup in np.unique(table[:, :2], axis=0):
    # The settings do not allow the others.
    if not 0 < warmup < total:
      continue
    config = settings.Optimizer(learning_rate=1e-4, warmup_updates=int(warmup))
    rows = table[(table[:, 0] == total) & (table[:, 1] == warmup)]
    rows = rows[(rows[:, 2] >= 1) & (rows[:, 2] <= total)]
    rate = functools.partial(optimizer.learning_rate, config, int(total))
    np.testing.assert_allclose(jax.jit(rate)(rows[:, 2]), rows[:, 3], rtol=2e-6)
    checked += len(rows)
  assert checked > 20


def test_decay_mask_by_name():
  model = retrieval.RetrievalModel(
    settings.Model(
      num_layers=2,
      hidden_size=4,
      num_heads=2,
      intermediate_size=4,
      max_positions=4,
      vocab_size=9,
      feature_size=3,
    )
  )
  mask = optimizer.decay_mask(retrieval.parameter_shapes(model))
  for path, is_decayed in jax.tree_util.tree_leaves_with_path(mask):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    if name in (
      'image_embeddings/feature_norm/scale',
      'image_embeddings/box_norm/scale',
    ):
      assert is_decayed, name
    else:
      assert is_decayed == (not name.endswith(('bias', 'scale'))), name


@pytest.mark.parametrize(
  'gradient, scale',
  [
    # The norm of (3, 4) is 5.
    ((3.0, 4.0), 2 / (5 + 1e-6)),
    ((0.3, 0.4), 1.0),
    ((0.0, 0.0), 1.0),
    # At the limit itself 2 / (2 + 1e-6) is below 1.
    ((2.0, 0.0), 2 / (2 + 1e-6)),
    ((3e6, 4e6), 4e-7),
  ],
)
def test_clipping_by_hand(gradient, scale):
  tx = optimizer.clip_by_norm(2.0)
  grads = {'a': np.float32(gradient[0]), 'b': np.float32([gradient[1]])}
  clipped, _ = jax.jit(lambda g: tx.update(g, tx.init(g)))(grads)
  np.testing.assert_allclose(clipped['a'], gradient[0] * scale, rtol=1e-6)
  np.testing.assert_allclose(clipped['b'], [gradient[1] * scale], rtol=1e-6)


def test_untrained_parameters_stay_and_have_no_moments():
  params = {
    'itm_output': {'kernel': np.ones((3, 2), np.float32)},
    'image_embeddings': {
      'region_mask_embedding': np.ones((2, 7), np.float32),
      'norm': {'scale': np.ones(5, np.float32)},
    },
    'pooler': {'kernel': np.ones((3, 4), np.float32)},
  }
  tx = optimizer.make_optimizer(
    _CONFIG, 20, ('itm_output', 'region_mask_embedding')
  )
  grads = jax.tree.map(lambda x: np.full_like(x, 0.01), params)
  # A large gradient of an untrained parameter has no part in the norm.
  grads['itm_output']['kernel'] *= 1e6
  (after,), state = _run(tx, params, [grads])
  np.testing.assert_array_equal(after['itm_output']['kernel'], 1)
  np.testing.assert_array_equal(
    after['image_embeddings']['region_mask_embedding'], 1
  )
  # The first step of Adam is the rate, 0.025; eps has 1e-6 / 1.4e-3 of it.
  np.testing.assert_allclose(
    after['image_embeddings']['norm']['scale'], 0.975, atol=3e-5
  )
  np.testing.assert_allclose(
    after['pooler']['kernel'], 0.975 * (1 - 0.0125), atol=3e-5
  )
  shapes = sorted(x.shape for x in jax.tree.leaves(state))
  # Count, and two moments of the trained ones.
  assert shapes == [(), (3, 4), (3, 4), (5,), (5,)]


def test_without_clipping_the_steps_are_those_of_adam():
  rng = np.random.default_rng(0)
  params = {'kernel': np.ones((3, 4), np.float32)}
  # Norms of 3 to 350: clipping would weigh the updates otherwise.
  gradients = [
    {'kernel': (scale * rng.normal(size=(3, 4))).astype(np.float32)}
    for scale in (1, 100, 3)
  ]
  config = settings.Optimizer(
    learning_rate=0.1,
    warmup_updates=4,
    weight_decay=0,
    epsilon=1e-12,
    clip_norm=None,
  )
  ours, _ = _run(optimizer.make_optimizer(config, 20, ()), params, gradients)
  adam = optax.adam(lambda n: 0.1 * (n + 1) / 4, b1=0.9, b2=0.98, eps=1e-12)
  theirs, _ = _run(adam, params, gradients)
  clipped, _ = _run(
    optimizer.make_optimizer(
      settings.Optimizer(
        learning_rate=0.1, warmup_updates=4, weight_decay=0, epsilon=1e-12
      ),
      20,
      (),
    ),
    params,
    gradients,
  )
  np.testing.assert_allclose(
    ours[-1]['kernel'], theirs[-1]['kernel'], rtol=1e-5
  )
  assert np.abs(ours[-1]['kernel'] - clipped[-1]['kernel']).max() > 0.01


def test_without_warm_up_the_rate_only_falls():
  config = settings.Optimizer(learning_rate=1e-3, warmup_updates=0)
  rates = [float(optimizer.learning_rate(config, 4, n)) for n in (1, 2, 3, 4)]
  np.testing.assert_allclose(rates, [7.5e-4, 5e-4, 2.5e-4, 1e-8], rtol=1e-6)
