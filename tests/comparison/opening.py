"""The recordings of the tests, whole or changed."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tagsdc_jax.comparison import recordings

FOLDER = Path(__file__).parents[1] / 'golden' / 'recordings'


@functools.cache
def _open(x64: bool) -> recordings.Recordings:
  return recordings.open_folder(FOLDER, x64=x64)


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
  """Returns all arrays of a file."""
  with np.load(FOLDER / name, allow_pickle=False) as stored:
    return dict(stored)


def recorded(name: str, changes: Mapping[str, np.ndarray] | None = None,
             x64: bool = False) -> recordings.Recordings:
  """Returns the recordings, some arrays of one file replaced."""
  changed = recordings.Arrays(name, arrays(name) | dict(changes or {}))
  return dataclasses.replace(_open(x64), opened={name: changed}, used=set())
