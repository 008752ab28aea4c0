"""Loads vision transformers from Hugging Face folders, without PyTorch."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from tagsdc_jax import errors
from tagsdc_jax.conversion import hub, reading, vision_config
from tagsdc_jax.models import vision_transformer

# Names of the whole network within one with heads.
_WRAPPER = re.compile(
  r'^(vit|deit|dinov2|dinov2_with_registers|vision_model)\.'
)
# Parameters that patch tokens do not need: heads, poolers, the token of masked
# pretraining, buffers, and the text tower of a pair.
_UNUSED = re.compile(
  r'(pooler|classifier|cls_classifier|distillation_classifier|decoder|head'
  r'|text_model)\..*'
  r'|embeddings\.(mask_token|position_ids)|logit_scale|logit_bias'
)
_LAYER = re.compile(r'(?:encoder\.)?layers?\.(\d+)\.(.+)')
# Names in a layer, without ".weight" and ".bias": ViT's and DINOv2's, those of
# version 5 of `transformers`, and SigLIP's.
_IN_LAYER = {
  'attention_norm': ('layernorm_before', 'norm1', 'layer_norm1'),
  'query': (
    'attention.attention.query',
    'attention.q_proj',
    'self_attn.q_proj',
  ),
  'key': ('attention.attention.key', 'attention.k_proj', 'self_attn.k_proj'),
  'value': (
    'attention.attention.value',
    'attention.v_proj',
    'self_attn.v_proj',
  ),
  'output': (
    'attention.output.dense',
    'attention.o_proj',
    'self_attn.out_proj',
  ),
  'attention_scale': ('layer_scale1.lambda1',),
  'mlp_norm': ('layernorm_after', 'norm2', 'layer_norm2'),
  'mlp_inner': ('intermediate.dense', 'mlp.fc1', 'mlp.weights_in'),
  'mlp_outer': ('output.dense', 'mlp.fc2', 'mlp.weights_out'),
  'mlp_scale': ('layer_scale2.lambda1',),
}
_OUTSIDE = {
  'embeddings.cls_token': 'cls',
  'embeddings.distillation_token': 'distillation',
  'embeddings.register_tokens': 'registers',
  'embeddings.position_embeddings': 'positions',
  'embeddings.position_embedding.weight': 'positions',
  'embeddings.patch_embeddings.projection.weight': 'patches/kernel',
  'embeddings.patch_embeddings.projection.bias': 'patches/bias',
  'embeddings.patch_embedding.weight': 'patches/kernel',
  'embeddings.patch_embedding.bias': 'patches/bias',
  'layernorm.weight': 'norm/scale',
  'layernorm.bias': 'norm/bias',
  'post_layernorm.weight': 'norm/scale',
  'post_layernorm.bias': 'norm/bias',
}
_OUR_LAYER_NAME = {
  theirs: ours for ours, names in _IN_LAYER.items() for theirs in names
}
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class VisionEncoder:
  """A vision transformer with its weights.

  Attributes:
    name: as the user gave it.
    family: model_type of its configuration.
    config: of the network.
    params: of `VisionTransformer`, float32 numpy arrays.
    preprocessing: how photos become its input.
    files: the files that were read.
  """

  name: str
  family: str
  config: vision_transformer.VisionConfig
  params: Mapping[str, Any]
  preprocessing: vision_config.Preprocessing
  files: tuple[str, ...]


def load(name_or_path: str, size: int | None = None) -> VisionEncoder:
  """Returns a vision transformer of a Hugging Face folder or hub name.

  Args:
    name_or_path: a folder with config.json and model.safetensors, whole or in
      shards, or a name such as "facebook/dinov2-small", which is looked up in
      the cache of the hub, then downloaded.
    size: side of the square input in pixels; None: as the files say.
  Raises:
    UserError: if it is missing, damaged, of another kind of network, or does
      not fit its configuration.
  """
  folder = hub.model_folder(name_or_path)
  family, config = vision_config.read_config(folder)
  preprocessing = vision_config.read_preprocessing(folder, family, config, size)
  files = hub.weight_files(folder)
  return VisionEncoder(
    name=name_or_path,
    family=family,
    config=config,
    params=convert(_read(files), config, folder),
    preprocessing=preprocessing,
    files=tuple(str(path) for path in hub.files_of(folder)),
  )


def convert(
  weights: Mapping[str, np.ndarray],
  config: vision_transformer.VisionConfig,
  source: Path,
) -> dict[str, Any]:
  """Returns the parameters of `VisionTransformer`, nested, float32.

  Args:
    weights: {name in the checkpoint: array}; unused ones may be left out.
    config: of the network.
    source: for messages.
  Raises:
    UserError: if a weight is unknown, missing, there twice, not finite, or of
      another shape or kind than the configuration says.
  """
  expected = _shapes(config)
  found: dict[str, tuple[str, np.ndarray]] = {}
  unknown = []
  for name, array in weights.items():
    if is_unused(name):
      continue
    place = _place(name)
    if place not in expected:
      unknown.append(name)
    elif place in found:
      raise errors.UserError(
        f'{source} has {found[place][0]} and {name}, two names of one weight; '
        'save the model again'
      )
    else:
      found[place] = name, array
  if unknown:
    raise errors.UserError(
      f'{source} has weights that its {hub.CONFIG} does not say: '
      f'{_some(unknown)}; use the config.json that belongs to the weights'
    )
  if missing := sorted(expected.keys() - found.keys()):
    raise errors.UserError(
      f'{source} lacks weights of the {config.num_layers} layers that its '
      f'{hub.CONFIG} says: {_some(missing)}; download the model '
      'again'
    )
  flat = {
    place: _checked(found[place], shape, source)
    for place, shape in expected.items()
  }
  return traverse_util.unflatten_dict(_joined(flat, config), sep='/')


def is_unused(name: str) -> bool:
  """Returns whether patch tokens do not need a weight of this name."""
  return bool(_UNUSED.fullmatch(_WRAPPER.sub('', name, count=1)))


def _read(files: list[Path]) -> dict[str, np.ndarray]:
  weights: dict[str, np.ndarray] = {}
  for path in files:
    if not path.is_file():
      raise errors.UserError(f'{path} is missing; download the model again')
    part = reading.read(path, lambda name: not is_unused(name))
    if both := weights.keys() & part.keys():
      raise errors.UserError(
        f'{path} has {_some(sorted(both))}, which another shard has too; '
        'download the model again'
      )
    weights |= part
  return weights


def _place(name: str) -> str:
  """Returns our name of a weight; of one that is unknown, any other."""
  name = _WRAPPER.sub('', name, count=1)
  match = _LAYER.fullmatch(name)
  if not match:
    return _OUTSIDE.get(name, name)
  number, rest = match.groups()
  head, _, kind = rest.rpartition('.')
  if rest in _OUR_LAYER_NAME:  # Layer scale has no kind.
    return f'layer_{number}/{_OUR_LAYER_NAME[rest]}'
  ours = _OUR_LAYER_NAME.get(head)
  if ours is None or kind not in ('weight', 'bias'):
    return name
  kernel = 'scale' if ours.endswith('_norm') else 'kernel'
  return f'layer_{number}/{ours}/{kernel if kind == "weight" else kind}'


def _shapes(
  config: vision_transformer.VisionConfig,
) -> dict[str, tuple[int, ...]]:
  """Returns {our name: shape in the checkpoint} of all weights."""
  hidden, patch = config.hidden_size, config.patch_size
  count = config.num_prefixes + config.position_rows**2
  shapes: dict[str, tuple[int, ...]] = {
    'positions': (1, count, hidden),
    'patches/kernel': (hidden, 3, patch, patch),
    'patches/bias': (hidden,),
    'norm/scale': (hidden,),
    'norm/bias': (hidden,),
  }
  for name in ('cls', 'distillation')[: config.num_prefixes]:
    shapes[name] = (1, 1, hidden)
  if config.num_registers:
    shapes['registers'] = (1, config.num_registers, hidden)
  inner = config.mlp_size
  linear = {
    'query': (hidden, hidden),
    'key': (hidden, hidden),
    'value': (hidden, hidden),
    'output': (hidden, hidden),
    'mlp_inner': (inner * (2 if config.is_gated else 1), hidden),
    'mlp_outer': (hidden, inner),
  }
  layer: dict[str, tuple[int, ...]] = {}
  for name in ('attention_norm', 'mlp_norm'):
    layer[f'{name}/scale'] = layer[f'{name}/bias'] = (hidden,)
  for name, shape in linear.items():
    layer[f'{name}/kernel'] = shape
    if config.has_qkv_bias or name not in ('query', 'key', 'value'):
      layer[f'{name}/bias'] = shape[:1]
  if config.is_scaled:
    layer['attention_scale'] = layer['mlp_scale'] = (hidden,)
  for number in range(config.num_layers):
    shapes |= {f'layer_{number}/{k}': v for k, v in layer.items()}
  return shapes


def _checked(
  named: tuple[str, np.ndarray], shape: tuple[int, ...], source: Path
) -> np.ndarray:
  """Returns a weight as our float32, with axes in our order."""
  name, array = named
  if array.dtype.name not in reading.FLOATS:
    raise errors.UserError(
      f'{source}: {name} must be floating point, got {array.dtype}; use the '
      'weights that are not quantized'
    )
  # SigLIP has its position embeddings as a table.
  actual = (
    (1, *array.shape) if len(shape) == 3 == array.ndim + 1 else array.shape
  )
  if actual != shape:
    raise errors.UserError(
      f'{source}: {name} must be {list(shape)} by its {hub.CONFIG}, '
      f'got {list(array.shape)}; use the config.json that belongs to the '
      'weights'
    )
  array = np.asarray(array, np.float32).reshape(shape)
  if not np.isfinite(array).all():
    raise errors.UserError(
      f'{source}: {name} must be finite, got '
      f'{np.size(array) - np.isfinite(array).sum()} numbers that are not; '
      'download the model again'
    )
  if array.ndim == 2:
    return np.ascontiguousarray(array.T)
  if array.ndim == 4:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
  return array


def _joined(
  flat: dict[str, np.ndarray], config: vision_transformer.VisionConfig
) -> dict[str, np.ndarray]:
  """Returns the weights with the prefix tokens in one array."""
  tokens = [
    flat.pop(name) for name in ('cls', 'distillation')[: config.num_prefixes]
  ]
  return flat | ({'prefixes': np.concatenate(tokens, axis=1)} if tokens else {})


def _some(names: list[str]) -> str:
  more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
  return ', '.join(names[:_SHOWN]) + more
