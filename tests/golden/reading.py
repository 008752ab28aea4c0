"""Recorded arrays, and the release's parameter names -> ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_FOLDER = Path(__file__).parent

_MODULES = {
    'uniter.embeddings.word_embeddings': 'text_embeddings/word',
    'uniter.embeddings.position_embeddings': 'text_embeddings/position',
    'uniter.embeddings.token_type_embeddings': 'text_embeddings/token_type',
    'uniter.embeddings.LayerNorm': 'text_embeddings/norm',
    'uniter.img_embeddings.img_linear': 'image_embeddings/feature_projection',
    'uniter.img_embeddings.pos_linear': 'image_embeddings/box_projection',
    'uniter.img_embeddings.img_layer_norm': 'image_embeddings/feature_norm',
    'uniter.img_embeddings.pos_layer_norm': 'image_embeddings/box_norm',
    'uniter.img_embeddings.LayerNorm': 'image_embeddings/norm',
    'uniter.pooler.dense': 'pooler/dense',
    'rank_output': 'rank_output',
    'itm_output': 'itm_output',
    'disc_output': 'disc_output',
    'cls.predictions': 'mlm_output',
    'cls.predictions.transform.dense': 'mlm_output/dense',
    'cls.predictions.transform.LayerNorm': 'mlm_output/norm',
    'correction_output.predictions': 'correction_output',
    'correction_output.predictions.transform.dense':
        'correction_output/dense',
    'correction_output.predictions.transform.LayerNorm':
        'correction_output/norm',
}
_LAYER_MODULES = {
    'attention.self.query': 'attention/query',
    'attention.self.key': 'attention/key',
    'attention.self.value': 'attention/value',
    'attention.output.dense': 'attention/output',
    'attention.output.LayerNorm': 'attention_norm',
    'intermediate.dense': 'intermediate',
    'output.dense': 'output',
    'output.LayerNorm': 'output_norm',
}
_MASK_EMBEDDING = 'uniter.img_embeddings.mask_embedding.weight'
_LAYER = 'uniter.encoder.layer.'


def load(name: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a recorded file."""
  with np.load(_FOLDER / name, allow_pickle=False) as arrays:
    return dict(arrays)


def under(arrays: Mapping[str, np.ndarray],
          prefix: str) -> dict[str, np.ndarray]:
  """Returns the arrays whose names start with a prefix, without it."""
  return {name.removeprefix(prefix): array for name, array in arrays.items()
          if name.startswith(prefix)}


def convert(weights: Mapping[str, np.ndarray]) -> Any:
  """Returns our parameter tree, of whatever parameters are there."""
  tree: dict[str, Any] = {}
  numbers = [int(name.split('.')[3]) for name in weights
             if name.startswith(_LAYER)]
  last = max(numbers, default=-1)
  inner: dict[str, list[np.ndarray]] = {}
  for name in sorted(weights):
    path, array = _place(name, weights[name])
    if not name.startswith(_LAYER):
      _put(tree, path, array)
    elif int(name.split('.')[3]) == last:
      _put(tree, f'encoder/last_layer/{path}', array)
    else:
      inner.setdefault(path, []).append(array)
  for path, arrays in inner.items():
    _put(tree, f'encoder/layers/{path}', np.stack(arrays))
  return tree


def _place(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
  if name == _MASK_EMBEDDING:
    return 'image_embeddings/region_mask_embedding', array
  module, kind = name.rsplit('.', 1)
  path = (_LAYER_MODULES[module.split('.', 4)[4]]
          if module.startswith(_LAYER) else _MODULES[module])
  if kind == 'bias':
    return f'{path}/bias', array
  if module.endswith('_embeddings'):
    return f'{path}/embedding', array
  if array.ndim == 1:
    return f'{path}/scale', array
  return f'{path}/kernel', array.T


def _put(tree: dict[str, Any], path: str, array: np.ndarray) -> None:
  *parents, last = path.split('/')
  for name in parents:
    tree = tree.setdefault(name, {})
  tree[last] = array
