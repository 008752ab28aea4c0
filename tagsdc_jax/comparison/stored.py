"""Reads the files of a folder of recordings: arrays and JSON."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files


class Missing(errors.UserError):
  """Something that a comparison needs is not in the recordings."""


class Arrays(Mapping[str, np.ndarray]):
  """The arrays of one file; keeps track of which ones were read."""

  def __init__(self, name: str, source: Mapping[str, np.ndarray]) -> None:
    self._name, self._source = name, source
    self._used: set[str] = set()

  def __getitem__(self, key: str) -> np.ndarray:
    """Returns an array; raises Missing if there is none of that name."""
    if key not in self._source:
      raise Missing(f'{self._name} does not contain {key}')
    self._used.add(key)
    return self._source[key]

  def __contains__(self, key: object) -> bool:
    return key in self._source

  def __iter__(self) -> Iterator[str]:
    return iter(self._source)

  def __len__(self) -> int:
    return len(self._source)

  def peek(self, key: str) -> np.ndarray:
    """Returns an array without marking it as read."""
    return self._source[key]

  def under(self, prefix: str) -> dict[str, np.ndarray]:
    """Returns the arrays whose names have a prefix, by the rest of the name."""
    return {
      key.removeprefix(prefix): self[key]
      for key in self
      if key.startswith(prefix)
    }

  def groups(self) -> list[str]:
    """Returns the parts of the names before the first "/", in order."""
    return list(dict.fromkeys(key.split('/')[0] for key in self if '/' in key))

  def unused(self) -> list[str]:
    """Returns the names of the arrays that were not read."""
    return [key for key in self if key not in self._used]


def read_json(path: Path) -> Any:
  """Returns the contents of a file; raises UserError if it is damaged."""
  with errors.named(path, 'read'):
    try:
      return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
      raise errors.UserError(
        f'{path} must be JSON, got: {error}; copy it again'
      ) from error


def open_arrays(path: Path, *, check: bool = False) -> Mapping[str, np.ndarray]:
  """Returns the arrays of a file, which are read on access.

  Args:
    path: an npz file.
    check: whether to read all arrays once to check them.
  Raises:
    UserError: if it is damaged, or contains something that could run code.
  """
  with errors.named(path, 'read'):
    try:
      arrays = np.load(path, allow_pickle=False)
      if check:
        for key in arrays.files:
          arrays[key]  # Raises for object arrays and truncated headers.
      return arrays
    except OSError:
      raise
    except Exception as error:  # Damaged files may raise anything.
      found = files.kind_of_text(path)
      raise errors.UserError(
        f'{path} is {found}'
        if found
        else f'{path} cannot be read as arrays ({error}); copy it again'
      ) from error
