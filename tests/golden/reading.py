"""Recorded arrays."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

_FOLDER = Path(__file__).parent


def load(name: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a recorded file."""
  with np.load(path_of(name), allow_pickle=False) as arrays:
    return dict(arrays)


def path_of(name: str) -> Path:
  """Returns where a recorded file is, be it in `recordings`."""
  path = _FOLDER / name
  return path if path.exists() else _FOLDER / 'recordings' / name


def under(arrays: Mapping[str, np.ndarray],
          prefix: str) -> dict[str, np.ndarray]:
  """Returns the arrays whose names start with a prefix, without it."""
  return {name.removeprefix(prefix): array for name, array in arrays.items()
          if name.startswith(prefix)}
