"""Folders of tiny vision transformers, written without PyTorch."""

import json

import numpy as np
from safetensors import numpy as safetensors_numpy

HIDDEN, LAYERS, HEADS, INNER, PATCH, SIDE = 8, 2, 2, 12, 4, 24
_CONFIG = {
  'hidden_size': HIDDEN,
  'num_hidden_layers': LAYERS,
  'num_attention_heads': HEADS,
  'intermediate_size': INNER,
  'patch_size': PATCH,
  'image_size': SIDE,
}
PREPROCESSOR = {
  'size': {'height': SIDE, 'width': SIDE},
  'resample': 2,
  'image_mean': [0.5, 0.4, 0.3],
  'image_std': [0.5, 0.6, 0.7],
  'rescale_factor': 1 / 255,
}


def vit_weights(seed=0):
  """Returns a checkpoint of a ViT, {name: float32 array}."""
  rng = np.random.default_rng(seed)
  shapes = {
    'embeddings.cls_token': (1, 1, HIDDEN),
    'embeddings.position_embeddings': (1, 1 + (SIDE // PATCH) ** 2, HIDDEN),
    'embeddings.patch_embeddings.projection.weight': (HIDDEN, 3, PATCH, PATCH),
    'embeddings.patch_embeddings.projection.bias': (HIDDEN,),
    'layernorm.weight': (HIDDEN,),
    'layernorm.bias': (HIDDEN,),
    'pooler.dense.weight': (HIDDEN, HIDDEN),
    'pooler.dense.bias': (HIDDEN,),
  }
  for number in range(LAYERS):
    layer = f'encoder.layer.{number}'
    for name, inputs, outputs in (
      ('attention.attention.query', HIDDEN, HIDDEN),
      ('attention.attention.key', HIDDEN, HIDDEN),
      ('attention.attention.value', HIDDEN, HIDDEN),
      ('attention.output.dense', HIDDEN, HIDDEN),
      ('intermediate.dense', HIDDEN, INNER),
      ('output.dense', INNER, HIDDEN),
    ):
      shapes[f'{layer}.{name}.weight'] = (outputs, inputs)
      shapes[f'{layer}.{name}.bias'] = (outputs,)
    for name in ('layernorm_before', 'layernorm_after'):
      shapes[f'{layer}.{name}.weight'] = (HIDDEN,)
      shapes[f'{layer}.{name}.bias'] = (HIDDEN,)
  return {
    name: rng.normal(scale=0.5, size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


def write_config(folder, **changes):
  """Writes config.json of the ViT, with changes."""
  content = {'model_type': 'vit', **_CONFIG, **changes}
  (folder / 'config.json').write_text(json.dumps(content), 'utf-8')


def write_preprocessor(folder, **changes):
  """Writes preprocessor_config.json, with changes; None leaves a key out."""
  content = {**PREPROCESSOR, **changes}
  content = {k: v for k, v in content.items() if v is not None}
  (folder / 'preprocessor_config.json').write_text(json.dumps(content), 'utf-8')


def write(folder, weights=None):
  """Writes the folder of a tiny ViT; returns its path as text."""
  folder.mkdir(exist_ok=True)
  write_config(folder)
  write_preprocessor(folder)
  safetensors_numpy.save_file(
    vit_weights() if weights is None else weights, folder / 'model.safetensors'
  )
  return str(folder)
