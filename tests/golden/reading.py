"""Recorded arrays and weights."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

FOLDER = Path(__file__).parent / 'recordings'


def load(name: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a recorded file."""
  with np.load(FOLDER / name, allow_pickle=False) as arrays:
    return dict(arrays)


@functools.cache
def manifest() -> dict[str, Any]:
  """Returns what is said of all recordings."""
  return json.loads((FOLDER / 'MANIFEST.json').read_text('utf-8'))


def weights(name: str) -> dict[str, np.ndarray]:
  """Returns a checkpoint's arrays, without the copies of tied weights."""
  return {
    key: array
    for key, array in load_file(FOLDER / f'{name}.safetensors').items()
    if not key.endswith('.decoder.weight')
  }


def path_of(name: str) -> Path:
  """Returns where a recorded file is, be it beside `recordings`."""
  path = FOLDER.parent / name
  return path if path.exists() else FOLDER / name


def under(
  arrays: Mapping[str, np.ndarray], prefix: str
) -> dict[str, np.ndarray]:
  """Returns the arrays whose names start with a prefix, without it."""
  return {
    name.removeprefix(prefix): array
    for name, array in arrays.items()
    if name.startswith(prefix)
  }
