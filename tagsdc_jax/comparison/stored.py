"""Files of a folder of recordings: arrays and JSON, and what may be wrong."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files


class Missing(errors.UserError):
  """Something that a comparison needs is not in the recordings."""


class Arrays(Mapping[str, np.ndarray]):
  """The arrays of one file. Remembers which of them were asked for."""

  def __init__(self, name: str, source: Mapping[str, np.ndarray]) -> None:
    self._name, self._source = name, source
    self._used: set[str] = set()

  def __getitem__(self, key: str) -> np.ndarray:
    """Returns an array; raises Missing if there is none of that name."""
    if key not in self._source:
      raise Missing(f'{self._name} holds no {key}')
    self._used.add(key)
    return self._source[key]

  def __contains__(self, key: object) -> bool:
    return key in self._source

  def __iter__(self) -> Iterator[str]:
    return iter(self._source)

  def __len__(self) -> int:
    return len(self._source)

  def peek(self, key: str) -> np.ndarray:
    """Returns an array without noting that it was asked for."""
    return self._source[key]

  def under(self, prefix: str) -> dict[str, np.ndarray]:
    """Returns the arrays whose names start so, by the rest of the name."""
    return {
      key.removeprefix(prefix): self[key]
      for key in self
      if key.startswith(prefix)
    }

  def groups(self) -> list[str]:
    """Returns what stands before the first "/" of the names, in order."""
    return list(dict.fromkeys(key.split('/')[0] for key in self if '/' in key))

  def unused(self) -> list[str]:
    """Returns the names that nobody asked for."""
    return [key for key in self if key not in self._used]


def read_json(path: Path) -> Any:
  """Returns the content of a file; raises UserError if it is damaged."""
  with errors.named(path, 'read'):
    try:
      return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
      raise errors.UserError(
        f'{path} must be JSON, got: {error}; copy it again'
      ) from error


def open_arrays(path: Path, *, check: bool = False) -> Mapping[str, np.ndarray]:
  """Returns the arrays of a file, which are read when asked for.

  Args:
    path: a npz file.
    check: read all of it once.
  Raises:
    UserError: if it is damaged, or holds what would run code.
  """
  with errors.named(path, 'read'):
    try:
      arrays = np.load(path, allow_pickle=False)
      if check:
        for key in arrays.files:
          arrays[key]  # Object arrays and cut-off headers are refused here.
      return arrays
    except OSError:
      raise
    except Exception as error:  # Damaged bytes raise anything.
      found = files.kind_of_text(path)
      raise errors.UserError(
        f'{path} is {found}'
        if found
        else f'{path} cannot be read as arrays ({error}); copy it again'
      ) from error
