"""Folders with an .npz file per picture: UNITER's, and BUA's."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.preparing.regions.file_store import (
  DamagedError,
  FileStore,
  open_file,
  shown,
  whole_number,
)
from tagsdc_jax.preparing.regions.store import StoredRegions

SUFFIX = '.npz'


def names_in(folder: Path, suffix: str) -> list[str]:
  """Returns the sorted names of a folder's files, without hidden ones."""
  with os.scandir(folder) as entries:
    return sorted(
      entry.name
      for entry in entries
      if entry.name.endswith(suffix) and not entry.name.startswith('.')
    )


class _NpzStore(FileStore):
  """A folder of .npz files, named as they are."""

  wanted: tuple[str, ...] = ()
  optional: tuple[str, ...] = ()

  def __init__(self, path: Path) -> None:
    files = names_in(path, SUFFIX)
    super().__init__(
      path, map(self._name_of, files), (path / name for name in files)
    )
    self._folder = path.absolute()
    self._open()

  def _name_of(self, file: str) -> str:
    return file

  def _file_of(self, name: str) -> str:
    return name

  def _where(self, name: str) -> str:
    return os.path.join(self.path, self._file_of(name))

  def _arrays(self, name: str) -> dict[str, np.ndarray]:
    """Returns the wanted members; the others are not decoded."""
    with open_file(self._folder / self._file_of(name)) as file:
      try:
        with np.load(file, allow_pickle=False) as stored:
          there = set(getattr(stored, 'files', ()))
          missing = [key for key in self.wanted if key not in there]
          if missing:
            raise DamagedError(
              f'must contain {", ".join(self.wanted)} ({self.kind}), got '
              f'{shown(sorted(there))}'
            )
          keys = [*self.wanted, *(key for key in self.optional if key in there)]
          return {key: np.asarray(stored[key]) for key in keys}
      except DamagedError:
        raise
      except Exception as error:  # Damaged files make numpy raise anything.
        raise DamagedError(
          f'must be an .npz file with {", ".join(self.wanted)}, got '
          f'{type(error).__name__}: {" ".join(str(error).split())[:120]}; '
          'copy, download or extract it again'
        ) from error


class UniterNpzStore(_NpzStore):
  """UNITER's .npz files, as they are before they are written into an LMDB."""

  kind = 'UNITER npz'
  wanted = ('features', 'norm_bb')
  optional = ('conf', 'soft_labels')

  def _read(self, name: str) -> StoredRegions:
    arrays = self._arrays(name)
    boxes, classes = arrays['norm_bb'], arrays.get('soft_labels')
    if boxes.ndim != 2 or boxes.shape[1] != 6:
      raise DamagedError(
        'norm_bb must have shape [regions, 6], x1 y1 x2 y2 w h, got '
        f'{list(boxes.shape)}'
      )
    labels: Any = None
    if classes is not None:
      if classes.ndim != 2 or not classes.shape[1]:
        raise DamagedError(
          'soft_labels must have shape [regions, classes], got '
          f'{list(classes.shape)}'
        )
      labels = classes.argmax(axis=1)
    return StoredRegions(arrays['features'], boxes, arrays.get('conf'), labels)


class BuaStore(_NpzStore):
  """Files of bottom-up-attention.pytorch; the pickle in them is not read."""

  kind = 'BUA npz'
  wanted = ('x', 'bbox', 'num_bbox', 'image_h', 'image_w')

  def _name_of(self, file: str) -> str:
    return file.removesuffix(SUFFIX)

  def _file_of(self, name: str) -> str:
    return name + SUFFIX

  def _read(self, name: str) -> StoredRegions:
    arrays = self._arrays(name)
    count = whole_number(arrays['num_bbox'], 'num_bbox')
    features, boxes = arrays['x'], arrays['bbox']
    _check_rows(count, {'x': features, 'bbox': boxes})
    return StoredRegions(
      features,
      boxes,
      width=whole_number(arrays['image_w'], 'image_w'),
      height=whole_number(arrays['image_h'], 'image_h'),
    )


def _check_rows(count: int, arrays: dict[str, np.ndarray]) -> None:
  for what, array in arrays.items():
    if array.ndim != 2 or len(array) != count:
      raise DamagedError(
        f'{what} must have {count} rows, as num_bbox says, got shape '
        f'{list(array.shape)}'
      )


def members(path: Path) -> Iterable[str]:
  """Returns the names of the arrays in an .npz file, none if it is damaged."""
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as stored:
      return tuple(getattr(stored, 'files', ()))
  except Exception:  # Damaged files make numpy raise anything.
    return ()
