"""HDF5 files of bottom-up-attention-vqa. Needs the extra `h5`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.preparing.regions import number_pickle
from tagsdc_jax.preparing.regions.file_store import (
  DamagedError,
  FileStore,
  shown,
)
from tagsdc_jax.preparing.regions.store import StoredRegions

_FEATURES, _BOXES, _NORMALIZED = (
  'image_features',
  'image_bb',
  'spatial_features',
)
# Rows of a picture, from and to, in files with 10 to 100 regions.
_SPANS = 'pos_boxes'
_IDS = ('image_ids', 'image_id', 'img_ids', 'img_id', 'ids')
_INDEX = '_imgid2idx'


class UpDownStore(FileStore):
  """An HDF5 file with the ids inside, or in a file beside it."""

  kind = 'up-down h5'

  def __init__(self, path: Path) -> None:
    _h5py(path)
    self._path, self._file = path.absolute(), None
    super().__init__(path, (), (path,))
    with errors.named(path, 'read'):
      file = self._opened()
      self._shapes, keys = self._contents(file)
    boxes = next((k for k in (_NORMALIZED, _BOXES) if k in self._shapes), None)
    if _FEATURES not in self._shapes or boxes is None:
      raise errors.UserError(
        f'{path} must contain {_FEATURES} and {_BOXES} or {_NORMALIZED}, got '
        f'{shown(keys, 80)}; copy or download it again'
      )
    self._boxes = boxes
    spans = self._shapes.get(_SPANS)
    dimensions = 3 if spans is None else 2
    for key in (_FEATURES, boxes):
      shape = self._shapes[key]
      if len(shape) != dimensions or shape[0] != self._shapes[_FEATURES][0]:
        raise errors.UserError(
          f'{path}: {key} must have {dimensions} dimensions and as many rows '
          f'as {_FEATURES}, got {list(shape)}; copy or download it again'
        )
    count = self._shapes[_FEATURES][0] if spans is None else spans[0]
    self._places = self._index(count, keys)
    self._open()

  def __getstate__(self) -> dict:
    return self.__dict__ | {'_file': None}

  def _read(self, name: str) -> StoredRegions:
    place: Any = self._places[name]
    file = self._opened()
    try:
      if _SPANS in self._shapes:
        first, last = (int(x) for x in file[_SPANS][place])
        if not 0 <= first <= last <= self._shapes[_FEATURES][0]:
          raise DamagedError(
            f'{_SPANS} must be two rows of {_FEATURES}, got {first} {last}'
          )
        place = slice(first, last)
      return StoredRegions(file[_FEATURES][place], file[self._boxes][place])
    except DamagedError:
      raise
    except Exception as error:  # Damaged files make h5py raise anything.
      raise DamagedError(
        f'must be readable, got {" ".join(str(error).split())[:120]}; copy or '
        'download the file again'
      ) from error

  def _opened(self) -> Any:
    if self._file is None:
      try:
        self._file = _h5py(self._path).File(self._path, 'r')
      except FileNotFoundError:
        raise
      except Exception as error:  # Damaged files make h5py raise anything.
        raise self._damaged(error) from error
    return self._file

  def _contents(
    self, file: Any
  ) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Returns the shapes of the arrays that are used, and all keys."""
    try:
      shapes = {
        key: tuple(file[key].shape)
        for key in (_FEATURES, _BOXES, _NORMALIZED, _SPANS)
        if hasattr(file.get(key), 'shape')
      }
      return shapes, sorted(file)
    except Exception as error:  # Damaged files make h5py raise anything.
      raise self._damaged(error) from error

  def _damaged(self, error: Exception) -> errors.UserError:
    return errors.UserError(
      f'{self.path} must be an HDF5 file, got '
      f'{" ".join(str(error).split())[:120]}; copy or download it again'
    )

  def _index(self, count: int, keys: list[str]) -> dict[str, int]:
    """Returns name -> row."""
    file = self._opened()
    key = next((key for key in _IDS if key in keys), None)
    if key is not None:
      try:
        ids = np.asarray(file[key][()]).reshape(-1).tolist()
      except Exception as error:  # Damaged files make h5py raise anything.
        raise errors.UserError(
          f'{self.path}: {key} cannot be read: '
          f'{" ".join(str(error).split())[:120]}; copy or download it again'
        ) from error
      return self._checked(zip(map(_text, ids), range(len(ids))), key, count)
    stem = self._path.with_suffix('').name + _INDEX
    for suffix, read in (
      ('.json', _of_json),
      ('.npz', _of_npz),
      ('.pkl', _of_pickle),
    ):
      path = self._path.with_name(stem + suffix)
      if not path.is_file():
        continue
      try:
        pairs = list(read(path))
      except OSError:
        raise
      except Exception as error:  # Damaged files make readers raise anything.
        raise errors.UserError(
          f'{path} must give the row of each image id, a dict of whole '
          f'numbers, got {" ".join(str(error).split())[:120]}; write it as '
          f'{stem}.json'
        ) from error
      self.sources = (*self.sources, str(path))
      return self._checked(pairs, str(path), count)
    raise errors.UserError(
      f'{self.path} does not say which row is which picture; expected '
      f'{stem}.json (or .npz, .pkl) beside it, a dict of image id to row'
    )

  def _checked(
    self, pairs: Iterable[tuple[str, Any]], where: str, count: int
  ) -> dict[str, int]:
    places: dict[str, int] = {}
    for name, place in pairs:
      if type(place) is not int or not 0 <= place < count:
        raise errors.UserError(
          f'{where}: row of picture {shown(name)} must be 0..{count - 1} of '
          f'{self.path}, got {shown(place)}; check that they belong together'
        )
      if places.setdefault(name, place) != place:
        raise errors.UserError(
          f'{where}: picture {shown(name)} must be one row of {self.path}, got '
          f'{places[name]} and {place}; remove one of them'
        )
    return places


def _of_json(path: Path) -> Iterable[tuple[str, Any]]:
  content = json.loads(path.read_text('utf-8'))
  if isinstance(content, list):
    return zip(map(_text, content), range(len(content)))
  if not isinstance(content, dict):
    raise ValueError(type(content).__name__)
  return content.items()


def _of_npz(path: Path) -> Iterable[tuple[str, Any]]:
  with open(path, 'rb') as file, np.load(file, allow_pickle=False) as stored:
    ids = stored['ids'].reshape(-1).tolist()
    rows = (
      stored['rows'].reshape(-1).tolist()
      if 'rows' in stored.files
      else list(range(len(ids)))
    )
  if len(rows) != len(ids):
    raise ValueError(f'{len(ids)} ids and {len(rows)} rows')
  return zip(map(_text, ids), rows)


def _of_pickle(path: Path) -> Iterable[tuple[str, Any]]:
  numbers = number_pickle.numbers_of(path.read_bytes())
  return ((str(key), place) for key, place in numbers.items())


def _text(value: Any) -> str:
  return value.decode('utf-8') if isinstance(value, bytes) else str(value)


def _h5py(path: Path) -> Any:
  try:
    import h5py
  except ImportError as error:
    raise errors.UserError(
      f'{path} needs h5py, which is not installed: pip install "tagsdc_jax[h5]"'
    ) from error
  return h5py
