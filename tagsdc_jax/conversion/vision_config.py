"""Reads the config.json and preprocessor_config.json of vision transformers.

The defaults are those of the classes in `transformers`, which leave out of the
files what has its default; those of the preprocessing are the values that the
published weights of a family come with.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.conversion import hub
from tagsdc_jax.models import vision_transformer

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_BILINEAR, _BICUBIC = 2, 3
_MOST_LAYERS = 1000
# Pillow's numbers, by which the files name them.
_RESAMPLING = ('nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming')

_COMMON: dict[str, Any] = {
  'hidden_size': 768,
  'num_hidden_layers': 12,
  'num_attention_heads': 12,
  'intermediate_size': 3072,
  'image_size': 224,
  'patch_size': 16,
  'num_channels': 3,
  'qkv_bias': True,
  'hidden_act': 'gelu',
  'layer_norm_eps': 1e-12,
}
_DINOV2: dict[str, Any] = {
  **_COMMON,
  'patch_size': 14,
  'mlp_ratio': 4,
  'use_swiglu_ffn': False,
  'layer_norm_eps': 1e-6,
}
_SIGLIP: dict[str, Any] = {
  **_COMMON,
  'hidden_act': 'gelu_pytorch_tanh',
  'layer_norm_eps': 1e-6,
}
# What the class assumes for keys that are not in the file.
_DEFAULTS: dict[str, dict[str, Any]] = {
  'vit': _COMMON,
  'deit': _COMMON,
  'dinov2': _DINOV2,
  'dinov2_with_registers': {
    **_DINOV2,
    'patch_size': 16,
    'num_register_tokens': 4,
  },
  'siglip': _SIGLIP,
  'siglip_vision_model': _SIGLIP,
}
_PREFIXES = {'deit': 2, 'siglip': 0, 'siglip_vision_model': 0}
_NAFLEX = ('siglip2', 'siglip2_vision_model')
# Where others read pictures of their config's size.
_INPUT_SIZES = {'dinov2': 224, 'dinov2_with_registers': 224}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """How a photo becomes the pixels that the weights expect.

  Attributes:
    size: side of the square input, in pixels, a multiple of the patch size.
    resampling: Pillow's number of the filter.
    rescale: what the values 0..255 are multiplied by.
    mean, std: of red, green and blue, after that.
    source: the file these values are from, or whose defaults they are.
  """

  size: int
  resampling: int
  rescale: float
  mean: tuple[float, float, float]
  std: tuple[float, float, float]
  source: str


class _Values:
  """The values of a JSON object with defaults; names the file in errors."""

  def __init__(
    self, path: Path, values: Mapping[str, Any], defaults: Mapping[str, Any]
  ) -> None:
    self.path = path
    self._values = {**defaults, **values}

  def get(self, key: str) -> Any:
    return self._values.get(key)

  def size(self, key: str) -> int:
    """Returns a positive number; of a square, its side."""
    value = self.get(key)
    sides = set(value) if isinstance(value, list) and value else {value}
    side = sides.pop()
    if sides or not _is_count(side):
      raise self.error(key, 'a whole number above 0, or two that are equal')
    return int(side)

  def number(self, key: str) -> float:
    value = self.get(key)
    if not _is_number(value) or value <= 0:
      raise self.error(key, 'a number above 0')
    return float(value)

  def flag(self, key: str, default: bool) -> bool:
    value = self.get(key)
    value = default if value is None else value
    if not isinstance(value, bool):
      raise self.error(key, 'true or false')
    return value

  def channels(self, key: str) -> tuple[float, float, float]:
    value = self.get(key)
    value = [value] * 3 if _is_number(value) else value
    if (
      not isinstance(value, (list, tuple))
      or len(value) != 3
      or not all(_is_number(x) for x in value)
    ):
      raise self.error(key, 'a number, or one each for red, green and blue')
    red, green, blue = (float(x) for x in value)
    return red, green, blue

  def error(self, key: str, expected: str) -> errors.UserError:
    return errors.UserError(
      f'{self.path}: {key} must be {expected}, got '
      f'{json.dumps(self.get(key))}; download the file again, or use another '
      'model'
    )


def read_config(folder: Path) -> tuple[str, vision_transformer.VisionConfig]:
  """Returns the family of a folder's model and the network's configuration.

  Args:
    folder: contains a config.json of `transformers`.
  Raises:
    UserError: if the file is missing or damaged, or is of a network that this
      package does not have.
  """
  path = folder / hub.CONFIG
  content = _read_json(path)
  family = content.get('model_type')
  if family == 'siglip':
    content = content.get('vision_config') or {}
    if not isinstance(content, dict):
      raise errors.UserError(
        f'{path}: vision_config must be an object; download the file again'
      )
  if family in _NAFLEX or 'num_patches' in content:
    raise errors.UserError(
      f'{path} is of a NaFlex SigLIP 2, whose number of patches depends on '
      'the picture; use one of a fixed size, such as '
      'google/siglip2-base-patch16-256'
    )
  if family not in _DEFAULTS:
    raise errors.UserError(
      f'{path}: model_type must be one of {", ".join(_DEFAULTS)}, got '
      f'{json.dumps(family)}; use a model of these families, such as '
      'facebook/dinov2-small'
    )
  values = _Values(path, content, _DEFAULTS[family])
  return family, _network(family, values)


def _network(family: str, values: _Values) -> vision_transformer.VisionConfig:
  hidden, heads = values.size('hidden_size'), values.size('num_attention_heads')
  if hidden % heads:
    raise values.error(
      'num_attention_heads', f'a divisor of hidden_size = {hidden}'
    )
  if values.size('num_channels') != 3:
    raise values.error('num_channels', '3: red, green and blue')
  activation = values.get('hidden_act')
  if activation not in vision_transformer.ACTIVATIONS:
    names = ', '.join(vision_transformer.ACTIVATIONS)
    raise values.error('hidden_act', f'one of {names}')
  image, patch = values.size('image_size'), values.size('patch_size')
  if patch > image:
    raise values.error('patch_size', f'at most image_size = {image}')
  is_dino = family.startswith('dinov2')
  is_gated = is_dino and values.flag('use_swiglu_ffn', False)
  inner = (
    int(hidden * values.number('mlp_ratio'))
    if is_dino
    else values.size('intermediate_size')
  )
  if is_gated:  # Two thirds, rounded up to a multiple of 8.
    inner = -(-(inner * 2 // 3) // 8) * 8
  layers = values.size('num_hidden_layers')
  if layers > _MOST_LAYERS:
    raise values.error('num_hidden_layers', f'at most {_MOST_LAYERS}')
  registers = family == 'dinov2_with_registers'
  return vision_transformer.VisionConfig(
    patch_size=patch,
    position_rows=image // patch,
    hidden_size=hidden,
    num_layers=layers,
    num_heads=heads,
    mlp_size=inner,
    activation=activation,
    epsilon=values.number('layer_norm_eps'),
    num_prefixes=_PREFIXES.get(family, 1),
    num_registers=values.size('num_register_tokens') if registers else 0,
    is_scaled=is_dino,
    is_gated=is_gated,
    has_qkv_bias=values.flag('qkv_bias', True),
    is_antialiased=registers,
  )


def read_preprocessing(
  folder: Path,
  family: str,
  config: vision_transformer.VisionConfig,
  size: int | None = None,
) -> Preprocessing:
  """Returns how to preprocess photos for a folder's model.

  A photo is resized to the square input whole: where the files say to cut out
  the center, only the size of the cut is used, as regions are wanted of all of
  the photo.

  Args:
    folder: a preprocessor_config.json is optional.
    family: from `read_config`.
    config: from `read_config`.
    size: side of the square input in pixels, in place of the file's.
  Raises:
    UserError: if the file is damaged, or the size is no multiple of the patch
      size.
  """
  path, content = _preprocessor(folder)
  patch = config.patch_size
  mean, std = _HALF if family.startswith(('vit', 'siglip')) else _IMAGENET
  usual = _INPUT_SIZES.get(family, config.position_rows * patch)
  values = _Values(
    path,
    content,
    {
      'resample': _BILINEAR if family == 'vit' else _BICUBIC,
      'rescale_factor': 1 / 255,
      'image_mean': mean,
      'image_std': std,
      'size': usual,
    },
  )
  is_cut = values.flag('do_center_crop', False) and values.get('crop_size')
  key = 'crop_size' if is_cut else 'size'
  if size is None:
    # Rounded down: the patches must cover the whole photo.
    side = _side(values, key) // patch * patch
    if not side:
      raise values.error(key, f'at least the patch size, {patch}')
  else:
    side = size
    if side < patch or side % patch:
      near = max(side // patch, 1) * patch
      raise errors.UserError(
        f'the size of the input must be a multiple of the patch size {patch} '
        f'of {folder}, got {size}; pass {near} or {near + patch}'
      )
  resampling = values.get('resample')
  if not _is_number(resampling) or resampling not in range(len(_RESAMPLING)):
    raise values.error(
      'resample', f'0 to {len(_RESAMPLING) - 1}, a filter of Pillow'
    )
  is_normalized = values.flag('do_normalize', True)
  std = values.channels('image_std') if is_normalized else (1.0, 1.0, 1.0)
  if min(std) <= 0:
    raise values.error('image_std', 'above 0')
  return Preprocessing(
    size=side,
    resampling=int(resampling),
    rescale=values.number('rescale_factor')
    if values.flag('do_rescale', True)
    else 1.0,
    mean=values.channels('image_mean') if is_normalized else (0.0, 0.0, 0.0),
    std=std,
    source=path.name if content else f'the usual values of {family}',
  )


def _preprocessor(folder: Path) -> tuple[Path, Mapping[str, Any]]:
  """Returns the file with the preprocessing and its content, {} if none."""
  path = folder / hub.PREPROCESSOR
  if path.exists():
    return path, _read_json(path)
  other = folder / hub.PROCESSOR
  if other.exists():
    content = _read_json(other).get('image_processor')
    if isinstance(content, dict):
      return other, content
  return path, {}


def _side(values: _Values, key: str) -> int:
  """Returns the side of a size in any of the forms that it has had."""
  value = values.get(key)
  if isinstance(value, dict):
    sides = {
      value[k] for k in ('height', 'width', 'shortest_edge') if k in value
    }
    if len(sides) == 1 and _is_count(side := sides.pop()):
      return side
  elif _is_count(value):
    return int(value)
  raise values.error(
    key,
    'a whole number above 0, {"shortest_edge": number}, or {"height": '
    'number, "width": number} of a square',
  )


def _is_number(value: Any) -> bool:
  return (
    isinstance(value, (int, float))
    and not isinstance(value, bool)
    and math.isfinite(value)
  )


def _is_count(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _read_json(path: Path) -> dict[str, Any]:
  with errors.named(path, 'read'):
    if not path.is_file():
      raise errors.UserError(
        f'{path} is missing; pass the folder of a Hugging Face model, with '
        f'{hub.CONFIG} and model.safetensors'
      )
    try:
      content = json.loads(path.read_bytes())
    except ValueError as error:
      reason = str(error).splitlines()[0]
      raise errors.UserError(
        f'{path} must be JSON, got: {reason}; download it again'
      ) from error
  if not isinstance(content, dict):
    raise errors.UserError(
      f'{path} must be a JSON object, got {type(content).__name__}; download '
      'it again'
    )
  return content
