import functools

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.engines import engine, pair_tokens
from tagsdc_jax.engines.packed import scoring
from tagsdc_jax.models import retrieval
from tests import tiny

_CONFIG = settings.Model(
  num_layers=2,
  hidden_size=16,
  num_heads=2,
  intermediate_size=24,
  max_positions=16,
  vocab_size=30,
  feature_size=6,
)
_MODEL = retrieval.RetrievalModel(_CONFIG)
_TEXTS, _TOKENS, _IMAGES, _REGIONS = 4, 6, 3, 5


@functools.cache
def _params():
  return tiny.large_parameters(_MODEL)


def _embedded(rng, number, size, lengths):
  states = rng.normal(size=(number, size, 16)).astype(np.float32)
  # Padding holds large numbers, which would show.
  is_real = np.arange(size)[None] < np.array(lengths)[:, None]
  states = np.where(is_real[..., None], states, 1e3).astype(np.float32)
  return engine.Embedded(states, np.array(lengths, np.int32))


def _inputs():
  rng = np.random.default_rng(0)
  return (
    _embedded(rng, _TEXTS, _TOKENS, [3, 6, 4, 5]),
    _embedded(rng, _IMAGES, _REGIONS, [5, 2, 4]),
  )


@functools.cache
def _direct_scores():
  """Scores of all pairs, [texts, images], simply padded to the maximum."""
  texts, images = _inputs()

  @jax.jit
  def run(params):
    text, image = (
      jnp.repeat(texts.states, _IMAGES, axis=0),
      jnp.tile(images.states, (_TEXTS, 1, 1)),
    )
    masks = [
      np.arange(size)[None] < lengths[:, None]
      for size, lengths in (
        (_TOKENS, np.repeat(texts.lengths, _IMAGES)),
        (_REGIONS, np.tile(images.lengths, _TEXTS)),
      )
    ]
    states = _MODEL.apply(
      {'params': params},
      jnp.concatenate([text, image], axis=1),
      np.concatenate(masks, axis=1),
      num_outputs=_TOKENS,
      method='encode',
    )
    return _MODEL.apply({'params': params}, states, method='match_logits')

  return np.asarray(run(_params())).reshape(_TEXTS, _IMAGES)


@functools.cache
def _program(buckets):
  return jax.jit(
    functools.partial(
      scoring.score_pairs, _MODEL, buckets=buckets, num_tokens=44
    )
  )


def test_score_pairs_equals_each_pair_padded_to_the_maximum():
  rng = np.random.default_rng(1)
  direct = _direct_scores()
  assert np.std(direct) > 0.1
  for _ in range(3):
    rows = rng.integers(0, _TEXTS, 13).astype(np.int32)
    columns = rng.integers(0, _IMAGES, 13).astype(np.int32)
    is_valid = rng.random(13) < 0.7
    scores = _program((7, 11))(_params(), *_inputs(), rows, columns, is_valid)
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(
      scores, np.where(is_valid, direct[rows, columns], 0), atol=1e-5
    )


def test_the_librarys_attention_gives_the_same_scores(monkeypatch):
  asked = []
  attend = jax.nn.dot_product_attention

  def count(*args, **kwargs):
    asked.append(kwargs['implementation'])
    return attend(*args, **kwargs)

  monkeypatch.setattr(jax.nn, 'dot_product_attention', count)
  rows, columns = (x.ravel() for x in np.indices((_TEXTS, _IMAGES)))
  program = jax.jit(
    functools.partial(
      scoring.score_pairs,
      retrieval.RetrievalModel(_CONFIG, attention='xla'),
      buckets=(7, 11),
      num_tokens=44,
    )
  )
  arguments = (_params(), *_inputs(), rows, columns, np.ones(len(rows), bool))
  np.testing.assert_allclose(
    program(*arguments), _direct_scores().ravel(), atol=1e-5
  )
  assert set(asked) == {'xla'}


def test_join_by_hand():
  # One number per token: text t has 10 t + 1, ..., image i 100 i + 51, ...
  texts = engine.Embedded(
    jnp.array([[[1.0], [2], [3]], [[11], [12], [13]]]), jnp.array([2, 3])
  )
  images = engine.Embedded(
    jnp.array([[[51.0], [52]], [[151], [152]]]), jnp.array([2, 1])
  )
  pairs = pair_tokens.make_pairs(
    texts, images, jnp.array([0, 1, 1]), jnp.array([1, 0, 1])
  )
  assert pairs.lengths.tolist() == [3, 5, 4]
  rows, mask = pair_tokens.join(pair_tokens.stack(texts, images), pairs, 6)
  rows, mask = np.asarray(rows)[..., 0], np.asarray(mask)
  expected = [[1, 2, 151], [11, 12, 13, 51, 52], [11, 12, 13, 151]]
  for row, is_real, tokens in zip(rows, mask, expected):
    assert row[is_real].tolist() == tokens
    # Real ones come first.
    assert is_real.tolist() == [i < len(tokens) for i in range(6)]


def test_score_joined():
  texts, images = _inputs()
  rows, columns = np.array([2, 0]), np.array([1, 0])
  joined, mask = pair_tokens.join(
    pair_tokens.stack(texts, images),
    pair_tokens.make_pairs(texts, images, rows, columns),
    9,
  )
  scores = jax.jit(functools.partial(scoring.score_joined, _MODEL))(
    _params(), joined, mask
  )
  np.testing.assert_allclose(scores, _direct_scores()[rows, columns], atol=1e-5)
