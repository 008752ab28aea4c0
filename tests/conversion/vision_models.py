"""Tiny models of `transformers` with random weights, saved and read back."""

import warnings

import numpy as np
import pytest

_SIZES = {
  'hidden_size': 32,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'intermediate_size': 48,
}
# Name -> (model class, config class, more of its configuration).
KINDS = {
  'vit': ('ViTModel', 'ViTConfig', {'image_size': 224, 'patch_size': 16}),
  'deit': ('DeiTModel', 'DeiTConfig', {'image_size': 224, 'patch_size': 16}),
  'dinov2': (
    'Dinov2Model',
    'Dinov2Config',
    {'image_size': 518, 'patch_size': 14},
  ),
  'dinov2_gated': (
    'Dinov2Model',
    'Dinov2Config',
    {'image_size': 518, 'patch_size': 14, 'use_swiglu_ffn': True},
  ),
  'dinov2_with_registers': (
    'Dinov2WithRegistersModel',
    'Dinov2WithRegistersConfig',
    {'image_size': 518, 'patch_size': 14},
  ),
  'siglip': (
    'SiglipVisionModel',
    'SiglipVisionConfig',
    {'image_size': 256, 'patch_size': 16},
  ),
}
# These take other sizes without being asked to.
_ALWAYS = ('dinov2', 'dinov2_gated', 'dinov2_with_registers')


def save(kind, folder, seed=0, **options):
  """Returns a model after saving it to a folder, weights far from zero."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  model_name, config_name, more = KINDS[kind]
  config = getattr(transformers, config_name)(**_SIZES, **more, **options)
  generator = torch.Generator().manual_seed(seed)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    model = getattr(transformers, model_name)(config).eval()
    # Those of training: biases, CLS token and layer scale begin as constants.
    with torch.no_grad():
      for weight in model.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.add_(noise * 0.2)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
  return model


def tokens(model, kind, pixels):
  """Returns all tokens of the last layer, float32 [pictures, tokens, hidden].

  Args:
    pixels: float32 [pictures, height, width, 3].
  """
  import torch

  options = {} if kind in _ALWAYS else {'interpolate_pos_encoding': True}
  channels_first = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
  with torch.inference_mode():
    result = model(pixel_values=torch.from_numpy(channels_first), **options)
  return result.last_hidden_state.numpy()
