"""Tests that weights of vision transformers are read strictly."""

import json

import ml_dtypes
import numpy as np
import pytest
from flax import traverse_util
from safetensors import numpy as safetensors_numpy

from tagsdc_jax import errors
from tagsdc_jax.conversion import vision_weights
from tests.conversion import vision_folders as folders


def _flat(encoder):
  return traverse_util.flatten_dict(encoder.params, sep='/')


def test_each_weight_is_at_its_place(tmp_path):
  weights = folders.vit_weights()
  encoder = vision_weights.load(folders.write(tmp_path, weights))
  ours = _flat(encoder)
  layer = 'encoder.layer.1'
  np.testing.assert_array_equal(
    ours['layer_1/mlp_inner/kernel'],
    weights[f'{layer}.intermediate.dense.weight'].T,
  )
  np.testing.assert_array_equal(
    ours['layer_1/mlp_norm/scale'], weights[f'{layer}.layernorm_after.weight']
  )
  np.testing.assert_array_equal(
    ours['patches/kernel'],
    weights['embeddings.patch_embeddings.projection.weight'].transpose(
      2, 3, 1, 0
    ),
  )
  assert ours['prefixes'].shape == (1, 1, folders.HIDDEN)
  assert {x.dtype for x in ours.values()} == {np.dtype(np.float32)}
  # All but the pooler's two.
  assert len(ours) == len(weights) - 2
  assert [path.rsplit('/', 1)[1] for path in encoder.files] == [
    'config.json',
    'preprocessor_config.json',
    'model.safetensors',
  ]


@pytest.mark.parametrize('dtype', [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_are_converted(dtype, tmp_path):
  weights = {k: v.astype(dtype) for k, v in folders.vit_weights().items()}
  ours = _flat(vision_weights.load(folders.write(tmp_path, weights)))
  np.testing.assert_array_equal(
    ours['norm/bias'], weights['layernorm.bias'].astype(np.float32)
  )
  assert ours['norm/bias'].dtype == np.float32


@pytest.mark.parametrize('prefix', ['vit.', 'deit.'])
def test_weights_in_a_larger_model(prefix, tmp_path):
  plain = vision_weights.load(folders.write(tmp_path / 'a'))
  weights = {f'{prefix}{k}': v for k, v in folders.vit_weights().items()}
  weights |= {
    'classifier.weight': np.ones((3, folders.HIDDEN), np.float32),
    f'{prefix}embeddings.mask_token': np.ones((1, 1, 8), np.float32),
  }
  ours = vision_weights.load(folders.write(tmp_path / 'b', weights))
  for name, array in _flat(plain).items():
    np.testing.assert_array_equal(_flat(ours)[name], array)


def test_names_of_version_5(tmp_path):
  renamed = {}
  for name, array in folders.vit_weights().items():
    for old, new in (
      ('attention.attention.query', 'attention.q_proj'),
      ('attention.attention.key', 'attention.k_proj'),
      ('attention.attention.value', 'attention.v_proj'),
      ('attention.output.dense', 'attention.o_proj'),
      ('intermediate.dense', 'mlp.fc1'),
      ('output.dense', 'mlp.fc2'),
      ('encoder.layer.', 'layers.'),
    ):
      name = name.replace(old, new)
    renamed[name] = array
  plain = _flat(vision_weights.load(folders.write(tmp_path / 'a')))
  ours = _flat(vision_weights.load(folders.write(tmp_path / 'b', renamed)))
  assert plain.keys() == ours.keys()
  for name, array in plain.items():
    np.testing.assert_array_equal(ours[name], array)


def test_a_model_in_shards(tmp_path):
  plain = vision_weights.load(folders.write(tmp_path / 'a'))
  folder = tmp_path / 'b'
  folders.write(folder)
  (folder / 'model.safetensors').unlink()
  names = sorted(folders.vit_weights())
  parts = {'model-00001-of-00002.safetensors': names[:20]}
  parts['model-00002-of-00002.safetensors'] = names[20:]
  for file, part in parts.items():
    weights = {name: folders.vit_weights()[name] for name in part}
    safetensors_numpy.save_file(weights, folder / file)
  places = {name: file for file, part in parts.items() for name in part}
  index = folder / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': places}), 'utf-8')
  encoder = vision_weights.load(str(folder))
  for name, array in _flat(plain).items():
    np.testing.assert_array_equal(_flat(encoder)[name], array)
  assert sum(x.endswith('.safetensors') for x in encoder.files) == 2
  (folder / 'model-00002-of-00002.safetensors').unlink()
  with pytest.raises(errors.UserError, match='00002-of-00002.* is missing'):
    vision_weights.load(str(folder))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda w: w.pop('layernorm.bias'), 'lacks .*: norm/bias; download'),
    (
      lambda w: w.update({'encoder.layer.2.output.dense.bias': np.ones(8)}),
      'config.json does not say: encoder.layer.2.output.dense.bias',
    ),
    (
      lambda w: w.update({'layernorm.bias': np.ones(9, np.float32)}),
      r'layernorm.bias must be \[8\] by its config.json, got \[9\]',
    ),
    (
      lambda w: w.update({'layernorm.bias': np.ones(8, np.int8)}),
      'layernorm.bias must be floating point, got int8',
    ),
    (
      lambda w: w['layernorm.bias'].__setitem__(3, np.nan),
      'layernorm.bias must be finite, got 1 numbers',
    ),
    (
      lambda w: w.update({'vit.layernorm.bias': w['layernorm.bias'] + 1}),
      'layernorm.bias and vit.layernorm.bias, two names of one weight',
    ),
  ],
)
def test_weights_that_do_not_fit_are_refused(change, message, tmp_path):
  weights = folders.vit_weights()
  change(weights)
  folder = folders.write(tmp_path, weights)
  with pytest.raises(errors.UserError, match=message) as raised:
    vision_weights.load(folder)
  assert '\n' not in str(raised.value)
  assert folder in str(raised.value)


def test_a_damaged_file_is_refused(tmp_path):
  folders.write(tmp_path)
  path = tmp_path / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(errors.UserError, match='cannot be read as a file of'):
    vision_weights.load(str(tmp_path))


def test_what_is_unused():
  for name in (
    'pooler.dense.weight',
    'vit.embeddings.mask_token',
    'vision_model.head.probe',
    'text_model.encoder.layers.0.mlp.fc1.bias',
    'logit_scale',
  ):
    assert vision_weights.is_unused(name), name
  for name in (
    'layernorm.weight',
    'vision_model.encoder.layers.0.mlp.fc1.bias',
  ):
    assert not vision_weights.is_unused(name), name


def test_the_vision_tower_of_a_whole_siglip(tmp_path):
  transformers = pytest.importorskip('transformers')
  torch = pytest.importorskip('torch')
  from tagsdc_jax.models import vision_transformer

  small = {
    'hidden_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'intermediate_size': 24,
  }
  model = transformers.SiglipModel(
    transformers.SiglipConfig(
      text_config={**small, 'vocab_size': 50},
      vision_config={**small, 'image_size': 32, 'patch_size': 8},
    )
  ).eval()
  transformers.utils.logging.disable_progress_bar()
  model.save_pretrained(tmp_path)
  encoder = vision_weights.load(str(tmp_path))
  assert encoder.family == 'siglip'
  pixels = np.random.default_rng(0).normal(size=(1, 32, 32, 3))
  pixels = pixels.astype(np.float32)
  patches, cls = vision_transformer.VisionTransformer(encoder.config).apply(
    {'params': encoder.params}, pixels
  )
  with torch.inference_mode():
    expected = model.vision_model(
      pixel_values=torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    ).last_hidden_state
  assert cls is None
  np.testing.assert_allclose(
    np.asarray(patches).reshape(1, 16, 16), expected, rtol=0, atol=1e-4
  )
