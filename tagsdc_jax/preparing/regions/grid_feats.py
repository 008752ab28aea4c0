"""Folders of grid-feats-vqa: a .pth file per picture. Needs the extra `torch`.

A map of up to 608 cells is too long a sequence for one picture, so it is
averaged to at most 6 x 6 cells.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.conversion import reading
from tagsdc_jax.preparing.regions.file_store import (
  DamagedError,
  FileStore,
  open_file,
)
from tagsdc_jax.preparing.regions.npz_folder import names_in
from tagsdc_jax.preparing.regions.store import StoredRegions

SUFFIX = '.pth'
_MOST_CELLS = 6  # Per side.


class GridFeatsStore(FileStore):
  """A folder of tensors [1, F, H, W], named after their pictures."""

  kind = 'grid-feats pth'

  def __init__(self, path: Path) -> None:
    files = names_in(path, SUFFIX)
    super().__init__(
      path,
      (name.removesuffix(SUFFIX) for name in files),
      (path / name for name in files),
    )
    self._folder = path.absolute()
    reading.import_torch(path, '')
    self._open()
    self.notes += (
      f'{path}: cells of a grid in place of objects, at most 6 x 6 a picture; '
      'small things are averaged with what is around them',
    )

  def _where(self, name: str) -> str:
    return os.path.join(self.path, name + SUFFIX)

  def _read(self, name: str) -> StoredRegions:
    cells = self._map(self._folder / (name + SUFFIX))
    features, boxes = pool(cells)
    return StoredRegions(features, boxes)

  def _map(self, path: Path) -> np.ndarray:
    """Returns float32 [F, H, W]."""
    torch = reading.import_torch(path, '')
    with open_file(path) as file:
      try:
        with warnings.catch_warnings():
          warnings.simplefilter('ignore')
          tensor = torch.load(file, map_location='cpu', weights_only=True)
      except Exception as error:  # Damaged files make torch raise anything.
        raise DamagedError(
          'must be one tensor that torch.save wrote, got '
          f'{type(error).__name__}: {_first_words(error)}; copy, download or '
          'extract it again'
        ) from error
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
      raise DamagedError(f'must be one tensor, got {type(tensor).__name__}')
    shape = list(tensor.shape)
    if (
      len(shape) not in (3, 4)
      or (len(shape) == 4 and shape[0] != 1)
      or not tensor.is_floating_point()
    ):
      raise DamagedError(
        f'must be a tensor of floats [1, F, H, W], got {tensor.dtype} {shape}'
      )
    if not tensor.numel():
      raise DamagedError(f'must have at least 1 cell, got {shape}')
    return tensor.detach().float().numpy().reshape(shape[-3:])


def pool(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the means of at most 6 x 6 equal cells of a map, and their boxes.

  A cell of the map that lies in two of them counts in each by its share.

  Args:
    cells: float32 [F, H, W].
  Returns:
    Features, float32 [regions, F], row by row, and boxes, float32
    [regions, 6], x1 y1 x2 y2 w h divided by width or height.
  """
  down, across = (_shares(count) for count in cells.shape[1:])
  means = np.einsum('fhw,ih,jw->ijf', cells, down, across, optimize=True)
  rows, columns = len(down), len(across)
  top, left = (x.reshape(-1) for x in np.indices((rows, columns)))
  size = np.broadcast_to([1 / columns, 1 / rows], (len(top), 2))
  boxes = np.stack(
    [
      left / columns,
      top / rows,
      (left + 1) / columns,
      (top + 1) / rows,
      size[:, 0],
      size[:, 1],
    ],
    axis=1,
  )
  features = means.reshape(len(top), -1).astype(np.float32)
  return features, boxes.astype(np.float32)


def _shares(count: int) -> np.ndarray:
  """Returns float64 [cells, count], how much of each belongs to each cell."""
  cells = min(count, _MOST_CELLS)
  edges = np.linspace(0, count, cells + 1)
  places = np.arange(count)
  low = np.maximum(edges[:-1, None], places)
  high = np.minimum(edges[1:, None], places + 1)
  return np.maximum(high - low, 0) * (cells / count)


def _first_words(error: Any) -> str:
  return ' '.join(str(error).split())[:100]
