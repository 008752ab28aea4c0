"""The recordings of the tests, whole or changed."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from tagsdc_jax.comparison import recordings
from tests.golden import reading

FOLDER = reading.FOLDER


@functools.cache
def _open(x64: bool) -> recordings.Recordings:
  return recordings.open_folder(FOLDER, x64=x64)


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
  """Returns all arrays of a file."""
  return reading.load(name)


def recorded(
  name: str, changes: Mapping[str, np.ndarray] | None = None, x64: bool = False
) -> recordings.Recordings:
  """Returns the recordings, some arrays of one file replaced."""
  changed = recordings.Arrays(name, arrays(name) | dict(changes or {}))
  return dataclasses.replace(_open(x64), opened={name: changed}, used=set())
