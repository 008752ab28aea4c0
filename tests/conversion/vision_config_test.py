"""Tests of configurations and preprocessing of vision transformers."""

import json

import pytest

from tagsdc_jax import errors
from tagsdc_jax.conversion import vision_config
from tests.conversion import vision_folders as folders


def _write(folder, content):
  (folder / 'config.json').write_text(json.dumps(content), 'utf-8')


def test_sizes_of_the_published_dinov2_small(tmp_path):
  _write(
    tmp_path,
    {
      'model_type': 'dinov2',
      'hidden_size': 384,
      'num_attention_heads': 6,
      'image_size': 518,
    },
  )
  family, config = vision_config.read_config(tmp_path)
  assert family == 'dinov2'
  assert (config.patch_size, config.position_rows) == (14, 37)
  assert (config.mlp_size, config.num_layers) == (1536, 12)
  assert (config.is_scaled, config.is_gated) == (True, False)
  assert config.epsilon == 1e-6
  how = vision_config.read_preprocessing(tmp_path, family, config)
  assert (how.size, how.resampling) == (224, 3)
  assert how.mean == (0.485, 0.456, 0.406)
  assert how.source == 'the usual values of dinov2'


def test_a_gated_mlp_has_two_thirds_rounded_up_to_eights(tmp_path):
  # DINOv2 giant: 1536 * 4 * 2 / 3 = 4096.
  content = {'model_type': 'dinov2', 'hidden_size': 1536, 'image_size': 518}
  _write(
    tmp_path, {**content, 'num_attention_heads': 24, 'use_swiglu_ffn': True}
  )
  assert vision_config.read_config(tmp_path)[1].mlp_size == 4096
  _write(tmp_path, {**content, 'hidden_size': 48, 'use_swiglu_ffn': True})
  assert vision_config.read_config(tmp_path)[1].mlp_size == 128


def test_siglip_leaves_out_what_has_its_default(tmp_path):
  _write(
    tmp_path,
    {
      'model_type': 'siglip',
      'text_config': {'vocab_size': 256000},
      'vision_config': {'image_size': 256, 'model_type': 'siglip_vision_model'},
    },
  )
  family, config = vision_config.read_config(tmp_path)
  assert (config.hidden_size, config.position_rows) == (768, 16)
  assert config.activation == 'gelu_pytorch_tanh'
  assert config.num_prefixes == 0
  how = vision_config.read_preprocessing(tmp_path, family, config)
  assert how.size == 256
  assert how.mean == how.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
  'content',
  [
    {'model_type': 'siglip2'},
    {'model_type': 'siglip2_vision_model'},
    {'model_type': 'siglip', 'vision_config': {'num_patches': 256}},
  ],
)
def test_naflex_is_refused_by_name(content, tmp_path):
  _write(tmp_path, content)
  with pytest.raises(errors.UserError, match='NaFlex SigLIP 2.*patch16-256'):
    vision_config.read_config(tmp_path)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'model_type': 'resnet'}, 'model_type must be one of vit, .* "resnet"'),
    ({'num_attention_heads': 3}, 'a divisor of hidden_size = 8, got 3'),
    ({'hidden_size': '8'}, 'hidden_size must be a whole number above 0.*"8"'),
    ({'hidden_size': True}, 'hidden_size must be a whole number above 0'),
    ({'image_size': [24, 16]}, r'two that are equal, got \[24, 16\]'),
    ({'patch_size': 48}, 'patch_size must be at most image_size = 24'),
    ({'num_channels': 1}, 'num_channels must be 3'),
    ({'hidden_act': 'swish'}, 'hidden_act must be one of gelu, '),
    ({'num_hidden_layers': 10**9}, 'num_hidden_layers must be at most 1000'),
    ({'qkv_bias': 'yes'}, 'qkv_bias must be true or false'),
    ({'layer_norm_eps': 0}, 'layer_norm_eps must be a number above 0, got 0'),
  ],
)
def test_configurations_that_are_refused(change, message, tmp_path):
  folders.write_config(tmp_path, **change)
  with pytest.raises(errors.UserError, match=message) as raised:
    vision_config.read_config(tmp_path)
  assert 'config.json' in str(raised.value)


def test_files_that_are_no_json(tmp_path):
  with pytest.raises(errors.UserError, match='config.json is missing; pass'):
    vision_config.read_config(tmp_path)
  (tmp_path / 'config.json').write_text('{"model_type"', 'utf-8')
  with pytest.raises(errors.UserError, match='config.json must be JSON, got'):
    vision_config.read_config(tmp_path)
  (tmp_path / 'config.json').write_text('[]', 'utf-8')
  with pytest.raises(errors.UserError, match='must be a JSON object, got list'):
    vision_config.read_config(tmp_path)


def _preprocessing(folder, side=None, **changes):
  folders.write_config(folder)
  folders.write_preprocessor(folder, **changes)
  family, config = vision_config.read_config(folder)
  return vision_config.read_preprocessing(folder, family, config, side)


@pytest.mark.parametrize(
  ('changes', 'side'),
  [
    ({}, 24),
    ({'size': 32}, 32),
    ({'size': {'shortest_edge': 16}}, 16),
    ({'size': {'shortest_edge': 30}}, 28),  # Rounded down to patches of 4.
    ({'size': None}, 24),  # That of the weights.
    ({'size': 32, 'crop_size': 16}, 32),  # No cut without do_center_crop.
    (
      {
        'size': 32,
        'do_center_crop': True,
        'crop_size': {'height': 28, 'width': 28},
      },
      28,
    ),
  ],
)
def test_the_side_of_the_input(changes, side, tmp_path):
  assert _preprocessing(tmp_path, **changes).size == side


def test_a_size_of_ones_own(tmp_path):
  assert _preprocessing(tmp_path, side=40).size == 40
  with pytest.raises(errors.UserError, match='got 42; pass 40 or 44'):
    _preprocessing(tmp_path, side=42)
  with pytest.raises(errors.UserError, match='got -3; pass 4 or 8'):
    _preprocessing(tmp_path, side=-3)


def test_values_that_are_switched_off(tmp_path):
  how = _preprocessing(tmp_path, do_rescale=False, do_normalize=False)
  assert (how.rescale, how.mean, how.std) == (1, (0, 0, 0), (1, 1, 1))
  assert _preprocessing(tmp_path).mean == (0.5, 0.4, 0.3)
  assert _preprocessing(tmp_path, image_mean=0.5).mean == (0.5, 0.5, 0.5)


def test_a_processor_within_a_processor(tmp_path):
  folders.write_config(tmp_path)
  (tmp_path / 'processor_config.json').write_text(
    json.dumps({'image_processor': {'size': 16, 'image_mean': 0.1}}), 'utf-8'
  )
  family, config = vision_config.read_config(tmp_path)
  how = vision_config.read_preprocessing(tmp_path, family, config)
  assert (how.size, how.mean[0], how.resampling) == (16, 0.1, 2)
  assert how.source == 'processor_config.json'


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'size': {'height': 24, 'width': 32}}, 'size must be a whole number'),
    ({'size': 3}, 'size must be at least the patch size, 4, got 3'),
    ({'resample': 9}, 'resample must be 0 to 5'),
    ({'resample': 2.5}, 'resample must be 0 to 5'),
    ({'image_mean': [0.5, 0.5]}, 'image_mean must be a number, or one each'),
    ({'image_mean': float('nan')}, 'image_mean must be a number'),
    ({'image_std': [0.5, 0, 0.5]}, 'image_std must be above 0'),
    ({'rescale_factor': 0}, 'rescale_factor must be a number above 0'),
    ({'do_center_crop': 1}, 'do_center_crop must be true or false'),
  ],
)
def test_preprocessing_that_is_refused(changes, message, tmp_path):
  with pytest.raises(errors.UserError, match=message) as raised:
    _preprocessing(tmp_path, **changes)
  assert 'preprocessor_config.json' in str(raised.value)
