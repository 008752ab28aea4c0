"""The network against recordings, and its masks, heads and initialisation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.conversion import converting
from tagsdc_jax.engines import engine, pair_tokens
from tagsdc_jax.models import layers, retrieval
from tests.golden import reading

_CONFIG = settings.Model(
  num_layers=3,
  hidden_size=48,
  num_heads=4,
  intermediate_size=96,
  max_positions=64,
  vocab_size=211,
  feature_size=24,
  dropout_rate=0.1,
)
_SMALL = settings.Model(
  num_layers=2,
  hidden_size=16,
  num_heads=2,
  intermediate_size=24,
  max_positions=16,
  vocab_size=50,
  feature_size=6,
  dropout_rate=0.1,
)


@functools.cache
def _recorded():
  arrays = reading.load('forward.npz')
  return arrays, converting.to_parameters(reading.weights('checkpoint_stage2'))


@functools.cache
def _forward():
  """Returns every output at the recorded inputs, as numpy arrays."""
  model = retrieval.RetrievalModel(_CONFIG)
  arrays, params = _recorded()

  @jax.jit
  def run(params, token_ids, features, boxes, num_tokens, num_regions):
    apply = lambda method, *args, **kwargs: model.apply(
      {'params': params}, *args, method=method, **kwargs
    )
    text = apply('embed_text', token_ids)
    image = apply('embed_image', features, boxes)
    texts = engine.Embedded(text, num_tokens)
    images = engine.Embedded(image, num_regions)
    rows = jnp.arange(len(token_ids))
    joined, mask = pair_tokens.join(
      pair_tokens.stack(texts, images),
      pair_tokens.make_pairs(texts, images, rows, rows),
      25,
    )
    states = apply('encode', joined, mask, num_outputs=25)
    first = apply('encode', joined, mask, num_outputs=1)
    words = states[:, :14]
    return {
      'text': text,
      'image': image,
      'mask': mask,
      'states': states,
      'first': first,
      'match': apply('match_logits', states),
      'match_of_first': apply('match_logits', first),
      'itm': apply('itm_logits', states),
      'mlm': apply('mlm_logits', words),
      'correction': apply('correction_logits', words),
      'disc': jax.nn.softmax(apply('disc_logits', words)),
    }

  return jax.tree.map(
    np.asarray,
    run(
      params,
      *(
        arrays[name]
        for name in (
          'input_ids',
          'img_feat',
          'img_pos_feat',
          'txt_lens',
          'num_bbs',
        )
      ),
    ),
  )


def _small_inputs():
  rng = np.random.default_rng(0)
  token_ids = rng.integers(1, 50, (3, 5)).astype(np.int32)
  features = rng.normal(size=(3, 4, 6)).astype(np.float32)
  boxes = rng.random((3, 4, 7)).astype(np.float32)
  return token_ids, features, boxes


def _score(model, params, token_ids, features, boxes, text_mask, image_mask):
  apply = functools.partial(model.apply, {'params': params})
  x = jnp.concatenate(
    [
      apply(token_ids, method='embed_text'),
      apply(features, boxes, method='embed_image'),
    ],
    axis=1,
  )
  mask = jnp.concatenate([text_mask, image_mask], axis=1)
  states = apply(x, mask, num_outputs=token_ids.shape[1], method='encode')
  return apply(states, method='match_logits'), states


def _random_params(config):
  """Returns parameters of spread 0.4, so that every input shows."""
  rng = np.random.default_rng(0)
  shapes = retrieval.parameter_shapes(retrieval.RetrievalModel(config))
  return jax.tree_util.tree_map_with_path(
    lambda path, s: rng.normal(path[-1].key == 'scale', 0.4, s.shape).astype(
      np.float32
    ),
    shapes,
  )


@functools.cache
def _small_params():
  return _random_params(_SMALL)


@functools.cache
def _fresh_params(seed):
  return jax.tree.map(np.asarray, _init_program()(jax.random.key(seed)))


@functools.cache
def _init_program():
  return jax.jit(
    functools.partial(
      retrieval.init_parameters, retrieval.RetrievalModel(_SMALL)
    )
  )


@functools.cache
def _small_program():
  return jax.jit(functools.partial(_score, retrieval.RetrievalModel(_SMALL)))


@pytest.mark.parametrize(
  'ours, theirs', [('text', 'text_embedding'), ('image', 'image_embedding')]
)
def test_embeddings_are_the_recorded_ones(ours, theirs):
  arrays, _ = _recorded()
  np.testing.assert_allclose(
    _forward()[ours], arrays[theirs], atol=1e-5, rtol=0
  )


def test_states_are_the_recorded_ones():
  arrays, _ = _recorded()
  mask = _forward()['mask']
  lengths = arrays['txt_lens'] + arrays['num_bbs']
  np.testing.assert_array_equal(mask.sum(axis=1), lengths)
  np.testing.assert_allclose(
    _forward()['states'][mask], arrays['hidden_2'][mask], atol=1e-5, rtol=0
  )


@pytest.mark.parametrize(
  'ours, theirs',
  [
    ('match', 'rank_scores'),
    ('itm', 'itm_logits'),
    ('match_of_first', 'rank_scores'),
  ],
)
def test_scores_are_the_recorded_ones(ours, theirs):
  arrays, _ = _recorded()
  expected = arrays[theirs].reshape(_forward()[ours].shape)
  np.testing.assert_allclose(_forward()[ours], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
  'ours, theirs',
  [
    ('mlm', 'mlm_logits'),
    ('correction', 'correction_logits'),
    ('disc', 'disc_probs'),
  ],
)
def test_word_outputs_are_the_recorded_ones(ours, theirs):
  arrays, _ = _recorded()
  mask = _forward()['mask'][:, :14]
  np.testing.assert_allclose(
    _forward()[ours][mask], arrays[theirs][mask], atol=1e-5, rtol=0
  )


def test_last_layer_for_the_first_token_only():
  # The sums are the same, in another order.
  np.testing.assert_allclose(
    _forward()['first'], _forward()['states'][:, :1], atol=3e-6, rtol=0
  )


def test_layer_norm_and_gelu_are_the_recorded_ones():
  arrays, params = _recorded()
  norm = layers.layer_norm(jnp.float32, None)
  ours = norm.apply(
    {'params': params['text_embeddings']['norm']}, arrays['probe/layernorm_in']
  )
  # The inputs vary by so little that a larger epsilon would show.
  np.testing.assert_allclose(ours, arrays['probe/layernorm_out'], atol=2e-4)
  np.testing.assert_allclose(
    layers.gelu(jnp.asarray(arrays['probe/gelu_in'])),
    arrays['probe/gelu_out'],
    atol=1e-6,
  )


def test_padding_changes_nothing():
  params, score = _small_params(), _small_program()
  token_ids, features, boxes = _small_inputs()
  text_mask = np.arange(5)[None] < np.array([[5], [3], [4]])
  image_mask = np.arange(4)[None] < np.array([[2], [4], [1]])
  expected, states = score(
    params, token_ids, features, boxes, text_mask, image_mask
  )
  spoilt = (
    np.where(text_mask, token_ids, 49),
    np.where(image_mask[..., None], features, 1e3),
    np.where(image_mask[..., None], boxes, -7).astype(np.float32),
  )
  found, found_states = score(params, *spoilt, text_mask, image_mask)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(
    np.asarray(found_states)[text_mask],
    np.asarray(states)[text_mask],
    atol=1e-6,
  )
  # It is the masks that hide it: the same contents count where real.
  everything = (np.ones_like(text_mask), np.ones_like(image_mask))
  plain, _ = score(params, token_ids, features, boxes, *everything)
  for changed in ((spoilt[0], features, boxes), (token_ids, *spoilt[1:])):
    other, _ = score(params, *changed, *everything)
    assert np.any(np.abs(np.asarray(other) - plain) > 1e-3)


def test_row_without_any_token_stays_finite():
  params = _small_params()
  nothing = np.zeros((3, 5), bool), np.zeros((3, 4), bool)
  scores, states = _small_program()(params, *_small_inputs(), *nothing)
  assert np.all(np.isfinite(scores)) and np.all(np.isfinite(states))


def test_pad_row_learns_through_the_decoder_only():
  model = retrieval.RetrievalModel(_SMALL)
  token_ids, features, boxes = _small_inputs()
  token_ids[:, 2] = 0
  masks = np.ones((3, 5), bool), np.ones((3, 4), bool)

  @jax.jit
  @functools.partial(jax.grad, has_aux=True)
  def look_up(params):
    inputs = map(jnp.asarray, (token_ids, features, boxes, *masks))
    return jnp.sum(_score(model, params, *inputs)[1][..., 0]), None

  @jax.jit
  @jax.grad
  def decode(params):
    logits = model.apply(
      {'params': params}, jnp.ones((2, 16)), method='mlm_logits'
    )
    return jnp.sum(jax.nn.log_softmax(logits)[:, 5])

  params = _small_params()
  table = lambda grads: np.asarray(
    grads['text_embeddings']['word']['embedding']
  )
  gradient = table(look_up(params)[0])
  assert not np.any(gradient[0])
  assert np.all(np.any(gradient[np.unique(token_ids)[1:]], axis=1))
  assert np.all(np.any(table(decode(params)), axis=1))


def test_bfloat16_gives_float32_scores_near_float32s():
  params = _small_params()
  inputs = (*_small_inputs(), np.ones((3, 5), bool), np.ones((3, 4), bool))
  model = retrieval.RetrievalModel(_SMALL, jnp.bfloat16)
  found, states = jax.jit(functools.partial(_score, model))(params, *inputs)
  expected, _ = _small_program()(params, *inputs)
  assert found.dtype == jnp.float32 and states.dtype == jnp.bfloat16
  assert np.std(expected) > 0.05
  np.testing.assert_allclose(found, expected, atol=0.03)
  for method in (
    'mlm_logits',
    'correction_logits',
    'disc_logits',
    'itm_logits',
  ):
    output = jax.eval_shape(
      functools.partial(model.apply, method=method), {'params': params}, states
    )
    assert output.dtype == jnp.float32


def test_float64_stays_float64():
  params = _small_params()
  inputs = (*_small_inputs(), np.ones((3, 5), bool), np.ones((3, 4), bool))
  expected, _ = _small_program()(params, *inputs)
  with jax.enable_x64(True):
    model = retrieval.RetrievalModel(_SMALL, jnp.float64)
    found, states = jax.jit(functools.partial(_score, model))(params, *inputs)
    assert found.dtype == states.dtype == jnp.float64
    for method in (
      'mlm_logits',
      'correction_logits',
      'disc_logits',
      'itm_logits',
      'pooled',
    ):
      output = jax.eval_shape(
        functools.partial(model.apply, method=method),
        {'params': params},
        states,
      )
      assert output.dtype == jnp.float64
  # As good as float32 allows; that it is better is shown by the recordings.
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_masked_regions():
  model = retrieval.RetrievalModel(_SMALL)
  params = _small_params()
  _, features, _ = _small_inputs()
  is_masked = np.zeros((3, 4), bool)
  is_masked[0, 1] = is_masked[2, 3] = True
  found = np.asarray(
    retrieval.apply(
      model,
      params,
      'mask_regions',
      jnp.asarray(features),
      jnp.asarray(is_masked),
    )
  )
  learned = params['image_embeddings']['region_mask_embedding']
  assert np.any(learned[0])  # Row 0 is of no use, whatever it holds.
  np.testing.assert_array_equal(found[~is_masked], features[~is_masked])
  for row, region in ((0, 1), (2, 3)):
    np.testing.assert_allclose(
      found[row, region], features[row, region] + learned[1], rtol=1e-6
    )


def test_scores_are_computed_from_pooled_states():
  model, params = retrieval.RetrievalModel(_SMALL), _small_params()
  states = jnp.linspace(-1, 1, 3 * 2 * 16).reshape(3, 2, 16)
  pooled = retrieval.apply(model, params, 'pooled', states)
  rank = params['rank_output']
  logits = pooled @ rank['kernel'] + rank['bias'].reshape(1, 1)
  np.testing.assert_allclose(
    retrieval.apply(model, params, 'match_logits', states),
    logits[:, 0],
    rtol=1e-5,
  )


def test_model_of_one_layer():
  config = dataclasses.replace(_SMALL, num_layers=1)
  model = retrieval.RetrievalModel(config)
  params = _random_params(config)
  assert 'layers' not in params['encoder']
  inputs = (*_small_inputs(), np.ones((3, 5), bool), np.ones((3, 4), bool))
  scores, states = jax.jit(functools.partial(_score, model))(params, *inputs)
  assert np.all(np.isfinite(scores)) and states.shape == (3, 5, 16)


def test_initial_parameters():
  params = _fresh_params(0)
  weights = []
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    name = path[-1].key
    assert x.dtype == jnp.float32
    if name == 'bias':
      is_box = any(entry.key == 'box_projection' for entry in path)
      assert np.any(x) == is_box, path
    elif name == 'scale':
      assert np.all(x == 1), path
    else:
      assert name in ('kernel', 'embedding', 'region_mask_embedding'), path
      assert np.any(x), path
      if x.size >= 250:
        # The error of a standard deviation is sigma / sqrt(2 n).
        np.testing.assert_allclose(
          np.std(x), 0.02, rtol=4 / np.sqrt(2 * x.size)
        )
      weights.append(np.ravel(x))
  weights = np.concatenate(weights)
  np.testing.assert_allclose(np.std(weights), 0.02, rtol=0.03)
  np.testing.assert_allclose(np.mean(weights), 0, atol=6e-4)
  # No two weights are equal: every array has a key of its own.
  assert len(np.unique(weights)) > 0.99 * len(weights)


def test_other_key_other_parameters():
  again = _init_program()(jax.random.key(0))
  jax.tree.map(np.testing.assert_array_equal, again, _fresh_params(0))
  for path, x in jax.tree_util.tree_leaves_with_path(_fresh_params(7)):
    same = np.array_equal(
      x, functools.reduce(lambda tree, entry: tree[entry.key], path, again)
    )
    is_box = any(entry.key == 'box_projection' for entry in path)
    assert same == (path[-1].key in ('bias', 'scale') and not is_box), path


def test_a_fresh_network_sees_where_a_box_lies():
  # Without the centring bias these two boxes, a tenth of the picture apart,
  # would look alike; with it their embeddings point elsewhere.
  projection = _fresh_params(0)['image_embeddings']['box_projection']
  corners = np.array([[0.3, 0.4, 0.5, 0.6], [0.5, 0.4, 0.7, 0.6]], np.float32)
  boxes = np.concatenate([corners, np.tile([0.2, 0.2, 0.04], (2, 1))], axis=1)

  def cosine(bias):
    x, y = boxes @ projection['kernel'] + bias
    return x @ y / np.sqrt((x @ x) * (y @ y))

  assert cosine(0.0) > 0.9
  assert cosine(projection['bias']) < -0.9


_LAYER = (
  'attention/key',
  'attention/output',
  'attention/query',
  'attention/value',
  'intermediate',
  'output',
)
_DENSE = (
  'correction_output/dense',
  'disc_output',
  *(
    f'encoder/{kind}/{name}'
    for kind in ('last_layer', 'layers')
    for name in _LAYER
  ),
  'image_embeddings/box_projection',
  'image_embeddings/feature_projection',
  'itm_output',
  'mlm_output/dense',
  'pooler/dense',
  'rank_output',
)
_NORMS = (
  'correction_output/norm',
  *(
    f'encoder/{kind}/{name}'
    for kind in ('last_layer', 'layers')
    for name in ('attention_norm', 'output_norm')
  ),
  'image_embeddings/box_norm',
  'image_embeddings/feature_norm',
  'image_embeddings/norm',
  'mlm_output/norm',
  'text_embeddings/norm',
)


def test_names_of_the_parameters():
  # Checkpoints are read by these names: a change breaks old runs.
  expected = sorted(
    [f'{name}/{kind}' for name in _DENSE for kind in ('bias', 'kernel')]
    + [f'{name}/{kind}' for name in _NORMS for kind in ('bias', 'scale')]
    + [
      f'text_embeddings/{name}/embedding'
      for name in ('position', 'token_type', 'word')
    ]
    + [
      'correction_output/bias',
      'mlm_output/bias',
      'image_embeddings/region_mask_embedding',
    ]
  )
  shapes = retrieval.parameter_shapes(retrieval.RetrievalModel(_CONFIG))
  names = sorted(
    jax.tree_util.keystr(path, simple=True, separator='/')
    for path, _ in jax.tree_util.tree_leaves_with_path(shapes)
  )
  assert names == expected
  # The recorded model has the same parameters.
  recorded = jax.tree.map(np.shape, _recorded()[1])
  assert jax.tree.map(lambda x: x.shape, shapes) == recorded
