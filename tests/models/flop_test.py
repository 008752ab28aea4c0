"""FLOP by hand, and beside what XLA counts of a pass without loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.models import flop, retrieval

_BY_HAND = settings.Model(
  num_layers=2,
  hidden_size=4,
  num_heads=2,
  intermediate_size=8,
  vocab_size=5,
  feature_size=3,
)
# One inner layer, so that the encoder's loop over layers runs once.
_MODEL = settings.Model(
  num_layers=2,
  hidden_size=128,
  num_heads=2,
  intermediate_size=512,
  max_positions=16,
  vocab_size=1000,
  feature_size=200,
  dropout_rate=0.0,
)
_ROWS, _TOKENS, _WORDS, _REGIONS = 3, 24, 10, 14


def test_encoder_by_hand():
  # Inner layer, 3 tokens: 2 * 3 * (4 * 16 + 2 * 32) = 768, attention
  # 4 * 9 * 4 = 144. Last layer, one of 3: query, output, the query through
  # keys and values 2 * 4 * 16 = 128, feed-forward 2 * 2 * 32 = 128, attention
  # of 2 heads to whole states 2 * 4 * 3 * 4 = 96.
  count = functools.partial(flop.encoder, _BY_HAND)
  assert count(np.array([3]), 1) == [768 + 144 + 128 + 128 + 96]
  # Two of 3: keys and values 2 * 3 * 2 * 16 = 192, the rest of the two
  # 2 * 2 * (2 * 16 + 2 * 32) = 384, attention 4 * 3 * 2 * 4 = 96.
  assert count(np.array([3]), 2) == [768 + 144 + 192 + 384 + 96]
  # All 3 of the last layer is a layer more.
  np.testing.assert_array_equal(
    count(np.array([3, 3]), np.array([3, 2])),
    [2 * (768 + 144), 768 + 144 + 672],
  )


def test_heads_and_regions_by_hand():
  assert flop.pooled(_BY_HAND) == 2 * 16
  assert flop.scored(_BY_HAND, np.array([3])) == [1264 + 32]
  assert flop.word(_BY_HAND) == 2 * 4 * 4 + 2 * 4 * 5
  # 3 features and 7 numbers of the box.
  assert flop.regions(_BY_HAND, np.array([6])) == [2 * 6 * 4 * 10]


def test_inside_a_graph_and_without_overflow():
  base = settings.Model()
  lengths = np.array([160, 12], np.int32)
  outputs = np.array([60, 12], np.int32)
  exact = flop.encoder(base, lengths, outputs)
  assert exact.dtype == np.float64 and exact[0] > 2e10
  found = jax.jit(functools.partial(flop.encoder, base))(lengths, outputs)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, exact, rtol=1e-6)


def _xla_flop(function, *args):
  return jax.jit(function).lower(*args).cost_analysis()['flops']


@functools.cache
def _network():
  model = retrieval.RetrievalModel(_MODEL)
  shapes = retrieval.parameter_shapes(model)
  return model, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def test_states_that_nothing_reads_are_not_counted():
  # Each one less: its query and output projections, its feed-forward layer, and
  # its products with all keys and values.
  hidden = _MODEL.hidden_size
  each = (
    2 * 2 * hidden**2
    + 2 * 2 * hidden * _MODEL.intermediate_size
    + 2 * 2 * hidden * _TOKENS
  )
  every, some = (
    flop.encoder(_MODEL, np.array(_TOKENS), number)
    for number in (_TOKENS, _WORDS)
  )
  assert every - some == (_TOKENS - _WORDS) * each


# The network runs its last layer on one token or on all.
@pytest.mark.parametrize('num_outputs', [1, _TOKENS])
def test_encoder_beside_xla(num_outputs):
  model, params = _network()
  mask = jnp.ones((_ROWS, _TOKENS), bool)

  def run(encoder, x):
    return jnp.sum(
      retrieval.apply(
        model, {'encoder': encoder}, 'encode', x, mask, num_outputs=num_outputs
      )
    )

  x = jnp.zeros((_ROWS, _TOKENS, _MODEL.hidden_size))
  ours = _ROWS * flop.encoder(_MODEL, np.array(_TOKENS), num_outputs)
  theirs = _xla_flop(run, params['encoder'], x)
  # XLA counts what is no product as well.
  assert ours < theirs < 1.05 * ours
  ours *= flop.WITH_GRADIENT
  theirs = _xla_flop(jax.value_and_grad(run, (0, 1)), params['encoder'], x)
  assert ours < theirs < 1.07 * ours


def test_heads_and_regions_beside_xla():
  model, params = _network()

  def run(method, params, *args):
    return jnp.sum(retrieval.apply(model, params, method, *args))

  states = jnp.zeros((_ROWS, _MODEL.hidden_size))
  features = jnp.zeros((_ROWS, _REGIONS, _MODEL.feature_size))
  boxes = jnp.zeros((_ROWS, _REGIONS, 7))
  for method, args, forward, with_gradient in (
    ('mlm_logits', (states,), flop.word(_MODEL), flop.WITH_GRADIENT),
    ('pooled', (states[:, None],), flop.pooled(_MODEL), flop.WITH_GRADIENT),
    (
      'embed_image',
      (features, boxes),
      flop.regions(_MODEL, np.array(_REGIONS)),
      flop.REGIONS_WITH_GRADIENT,
    ),
  ):
    ours = _ROWS * forward
    theirs = _xla_flop(functools.partial(run, method), params, *args)
    assert ours < theirs < 1.1 * ours, method
    # States are computed with parameters, features are given.
    places = (0,) if method == 'embed_image' else (0, 1)
    gradient = jax.value_and_grad(functools.partial(run, method), places)
    theirs = _xla_flop(gradient, params, *args)
    assert with_gradient * ours < theirs < 1.15 * with_gradient * ours, method
