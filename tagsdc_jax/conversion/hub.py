"""Finds the files of Hugging Face models, in a folder or on the hub."""

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub

from tagsdc_jax import errors, paths
from tagsdc_jax.runtime import progress

CONFIG = 'config.json'
PREPROCESSOR, PROCESSOR = 'preprocessor_config.json', 'processor_config.json'
WEIGHTS = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_TORCH = 'pytorch_model.bin'
_WANTED = (
  CONFIG,
  PREPROCESSOR,
  PROCESSOR,
  WEIGHTS,
  INDEX,
  'model-*-of-*.safetensors',
)
_HUB_NAME = re.compile(r'[\w.-]+(/[\w.-]+)?')


def model_folder(name_or_path: str) -> Path:
  """Returns the local folder of a model, after a download if need be.

  Args:
    name_or_path: a folder, or a name such as "facebook/dinov2-small", which is
      looked up in the cache of the hub, then downloaded.
  Raises:
    UserError: if it is neither.
  """
  path = paths.local(name_or_path)
  with errors.named(path, 'read'):
    if path.is_dir():
      return path
    if path.exists():
      raise errors.UserError(
        f'{path} must be the folder of a Hugging Face model, with config.json '
        'and model.safetensors, but is a file; pass its folder'
      )
  if not _HUB_NAME.fullmatch(name_or_path):
    raise errors.UserError(
      f'{path} is missing; pass the folder of a Hugging Face model, or a name '
      'such as facebook/dinov2-small'
    )
  return _of_hub(name_or_path)


def _of_hub(name: str) -> Path:
  def get(**options: Any) -> Path:
    return Path(
      huggingface_hub.snapshot_download(
        name, allow_patterns=list(_WANTED), **options
      )
    )

  try:
    # The cache first: without a network the hub client would retry.
    folder = get(local_files_only=True)
    if (folder / CONFIG).exists() and _is_whole(folder):
      return folder
  except (OSError, ValueError):
    pass
  try:
    with progress.waiting(f'downloading {name} from the hub'):
      return get()
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f'{name} is neither a folder nor a model that could be downloaded '
      f'({_first_line(error)}); without a network, pass the folder of a '
      'Hugging Face model, with config.json and model.safetensors'
    ) from error


def _first_line(error: Exception) -> str:
  lines = str(error).splitlines()
  return lines[0].rstrip('.') if lines else type(error).__name__


def _is_whole(folder: Path) -> bool:
  """Returns whether a folder of the cache has all files of weights."""
  try:
    return all(path.is_file() for path in weight_files(folder))
  except errors.UserError:
    return False


def weight_files(folder: Path) -> list[Path]:
  """Returns the files of weights of a folder, in order of their names.

  Raises:
    UserError: if it has none that this package reads.
  """
  if (folder / WEIGHTS).exists():
    return [folder / WEIGHTS]
  index = folder / INDEX
  if index.exists():
    return [folder / name for name in _shards(index)]
  if (folder / _TORCH).exists():
    raise errors.UserError(
      f'{folder} has {_TORCH} only, a pickle, which could run code; convert '
      'it once, where you trust it, with transformers: python -c "import '
      f"transformers as t; t.AutoModel.from_pretrained('{folder}')"
      ".save_pretrained('NEW')\", and pass NEW"
    )
  raise errors.UserError(
    f'{folder} has no {WEIGHTS}; pass the folder of a Hugging Face model whose '
    'weights are safetensors'
  )


def files_of(folder: Path) -> list[Path]:
  """Returns the files of a model that exist: configurations, then weights.

  Raises:
    UserError: as `weight_files`.
  """
  paths_ = [folder / x for x in (CONFIG, PREPROCESSOR, PROCESSOR, INDEX)]
  return [*(path for path in paths_ if path.is_file()), *weight_files(folder)]


def _shards(index: Path) -> list[str]:
  try:
    names = set(json.loads(index.read_bytes())['weight_map'].values())
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise errors.UserError(
      f'{index} must be the JSON index of a model in shards, with weight_map; '
      'download it again'
    ) from error
  for name in names:
    if not isinstance(name, str) or Path(name).name != name:
      raise errors.UserError(
        f'{index}: weight_map must name files beside it, got {name!r}; '
        'download the model again'
      )
  return sorted(names)
