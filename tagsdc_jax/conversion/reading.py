"""Reads and writes files of weights as numpy arrays.

This is the only module that imports PyTorch. It is an optional dependency,
imported when needed; safetensors files do not need it.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from tagsdc_jax import errors, files

FLOATS = ('float16', 'bfloat16', 'float32', 'float64')
TORCH, SAFETENSORS = ('.pt', '.pth', '.bin'), ('.safetensors',)
# Before 2.6, files could run code despite weights_only (CVE-2025-32434).
_OLDEST_TORCH = (2, 6)
_STRANGE = 'its dtype does not exist in numpy'
# Keys under which training programs save the state_dict in their state.
_INNER = ('state_dict', 'model_state_dict', 'model')
# How torch reports the first object in a pickle that is not a tensor.
_CODE = re.compile(r'GLOBAL (\S+)')


def has_name(path: Path) -> bool:
  """Returns whether a path has the extension of a file of weights."""
  return path.suffix in TORCH + SAFETENSORS


def check_name(path: Path) -> None:
  """Raises UserError unless a file of that name can be read and written."""
  if not has_name(path):
    raise errors.UserError(
      f'{path} must end in {", ".join(TORCH + SAFETENSORS)} to be a file '
      f'of weights, got {path.suffix or "no extension"}'
    )
  if path.suffix in TORCH:
    import_torch(path)


def read(
  path: Path, is_wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, np.ndarray]:
  """Returns the arrays of a file with their dtypes in the file.

  Args:
    path: safetensors, or a state_dict written by torch.save, alone or in a
      training state under one of _INNER. Arrays may stay on disk until used.
    is_wanted: of a name; of safetensors, only such arrays are read.
  Returns:
    {name: array}; an inner state_dict's names are prefixed by its key, such as
    "state_dict.", and everything else in the training state is omitted.
  Raises:
    UserError: if the file is missing, damaged, of another kind, or contains
      something that could run code.
  """
  check_name(path)
  with errors.named(path, 'read'):
    if not path.stat().st_size:
      raise errors.UserError(f'{path} is empty; copy or download it again')
    found = files.kind_of_text(path)
    if found:
      raise errors.UserError(f'{path} is {found}')
    _check_ending(path)
    is_torch = path.suffix in TORCH
    return _read_torch(path) if is_torch else _read_safetensors(path, is_wanted)


def write(path: Path, kind: str, weights: Mapping[str, np.ndarray]) -> None:
  """Writes a file of weights.

  Args:
    path: an existing file of any name; its contents are replaced.
    kind: the file extension of the format.
    weights: {name: contiguous float32 array}. For torch, an array that occurs
      twice is stored once, like the release's tied weights.
  """
  if kind in SAFETENSORS:
    mode = path.stat().st_mode
    safetensors_numpy.save_file(dict(weights), path)
    path.chmod(mode)  # It creates a new file, readable by its owner only.
    return
  torch = import_torch(path)
  tensors = {id(array): torch.from_numpy(array) for array in weights.values()}
  # The release's container has torch 1.1, which only reads the old format.
  torch.save(
    {name: tensors[id(array)] for name, array in weights.items()},
    path,
    _use_new_zipfile_serialization=False,
  )


def _check_ending(path: Path) -> None:
  """Raises UserError if a file's contents and extension disagree."""
  with open(path, 'rb') as file:
    head = file.read(9)
  is_torch = path.suffix in TORCH
  if not is_torch and head.startswith((b'PK\x03\x04', b'\x80\x02')):
    raise errors.UserError(
      f'{path} was written by torch.save, judging by its contents; '
      f'rename it to end in {TORCH[0]}'
    )
  # A length, followed by a JSON object of that length.
  length = int.from_bytes(head[:8], 'little')
  if is_torch and head[8:] == b'{' and length < path.stat().st_size:
    raise errors.UserError(
      f'{path} is a safetensors file, judging by its contents; '
      f'rename it to end in {SAFETENSORS[0]}'
    )


def _read_safetensors(
  path: Path, is_wanted: Callable[[str], bool]
) -> dict[str, np.ndarray]:
  try:
    with safetensors.safe_open(path, framework='np') as file:
      return {
        name: file.get_tensor(name)
        for name in file.keys()  # noqa: SIM118
        if is_wanted(name)
      }
  except safetensors.SafetensorError as error:
    raise _unreadable(path, str(error)) from error
  except AttributeError as error:
    raise _unreadable(path, _STRANGE) from error


def _read_torch(path: Path) -> dict[str, np.ndarray]:
  torch = import_torch(path)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      content = torch.load(
        path,
        map_location='cpu',
        weights_only=True,
        mmap=zipfile.is_zipfile(path) or None,
      )
  except OSError:
    raise
  except pickle.UnpicklingError as error:
    wanted = _CODE.search(str(error))
    raise errors.UserError(
      f'{path} is rejected: '
      + (
        f'reading it would run {wanted[1]}'
        if wanted
        else 'it was not written by torch.save, or reading it would run code'
      )
      + '. A file of weights must contain names and tensors only: write it '
      'with torch.save(model.state_dict(), FILE), or ask its author to'
    ) from error
  except Exception as error:  # Damaged files make torch raise anything.
    raise _unreadable(
      path,
      str(error) if isinstance(error, RuntimeError) else type(error).__name__,
    ) from error
  if not isinstance(content, Mapping):
    raise errors.UserError(
      f'{path} must contain a state_dict, a dict of tensors, '
      f'got {type(content).__name__}; save model.state_dict()'
    )
  inner = [name for name in _INNER if isinstance(content.get(name), Mapping)]
  if len(inner) == 1:
    content = {
      f'{inner[0]}.{name}': value for name, value in content[inner[0]].items()
    }
  others = [
    f'{name!r} is {getattr(value, "layout", type(value).__name__)}'
    for name, value in content.items()
    if not (
      isinstance(name, str)
      and isinstance(value, torch.Tensor)
      and value.layout == torch.strided
    )
  ]
  if others:
    raise errors.UserError(
      f'{path} must contain a state_dict, a dict of tensors, but in it '
      f'{"; ".join(others)}; save model.state_dict() alone'
    )
  try:
    return {name: _to_numpy(torch, tensor) for name, tensor in content.items()}
  except (TypeError, RuntimeError) as error:
    raise _unreadable(path, _STRANGE) from error


def _to_numpy(torch: Any, tensor: Any) -> np.ndarray:
  tensor = tensor.detach()
  if tensor.dtype == torch.bfloat16:  # torch cannot convert these to numpy.
    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
  return tensor.numpy()


def import_torch(
  path: Path, instead: str = ', or use a .safetensors file'
) -> Any:
  """Returns the module torch.

  Args:
    path: what it is needed for.
    instead: for the message, what else to do.
  Raises:
    UserError: if it is missing or too old.
  """
  try:
    import torch
  except ImportError as error:
    raise errors.UserError(
      f'{path} needs PyTorch, which is not installed: pip install '
      f'"tagsdc_jax[torch]"{instead}'
    ) from error
  version = tuple(int(x) for x in re.findall(r'\d+', torch.__version__)[:2])
  if version < _OLDEST_TORCH:
    raise errors.UserError(
      f'{path} needs torch 2.6 or newer, got {torch.__version__}: in older '
      'versions a file of weights can run code; pip install --upgrade '
      '"tagsdc_jax[torch]"'
    )
  return torch


def _unreadable(path: Path, reason: str) -> errors.UserError:
  # torch's message begins with a place in its code and ends with advice.
  reason = re.sub(r'^\[.*?\][ .]*', '', reason)
  reason = re.split(r'\.?\s*\n|\.\s', reason)[0].rstrip('.')
  return errors.UserError(
    f'{path} cannot be read as a file of weights: {reason}; if it is damaged '
    'or truncated, copy or download it again'
  )
