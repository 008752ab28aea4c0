"""Selects and reads regions from the image folder of UNITER's LMDB format.

See `uniter_lmdb` for the folders' names.
"""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.data import regions as regions_lib
from tagsdc_jax.data.dataset import Regions
from tagsdc_jax.data.lmdb_files import (
  array_of,
  bad,
  decode_image,
  get,
  no_data,
  open_folder,
  read_json,
)
from tagsdc_jax.errors import UserError
from tagsdc_jax.runtime.progress import progress_bar

_STORE_NAME = re.compile(
  r'(?:feat_th(?P<conf_threshold>\d+(?:\.\d+)?(?:e-\d+)?)'
  r'_max(?P<max_boxes>\d+)_min(?P<min_boxes>\d+)'
  r'|feat_numbb(?P<num_boxes>\d+)|all)(?P<compressed>_compressed)?'
)
_DEFAULTS = {'conf_threshold': 0.2, 'max_boxes': 100, 'min_boxes': 10}
# Settings that these values come from.
_SETTINGS = {
  'conf_threshold': 'data.region_confidence',
  'max_boxes': 'data.max_regions',
  'min_boxes': 'data.min_regions',
}


@dataclasses.dataclass(frozen=True, slots=True)
class BoxSettings:
  """What the caller requires of the image folder; None: anything."""

  conf_threshold: float | None = None
  max_boxes: int | None = None
  min_boxes: int | None = None
  num_boxes: int | None = None
  compressed: bool | None = None


class ImageStore:
  """An image folder. Can be pickled: the copy opens it on its first read."""

  def __init__(
    self, folder: Path, image_ids: tuple[str, ...], wanted: BoxSettings
  ):
    self._folder, self._rule = find_image_folder(folder, wanted)
    self._image_ids = image_ids
    self._environment = open_folder(self._folder, 'image')
    # Buffers: checks that a record exists without reading it.
    with (
      self._environment.begin(buffers=True) as transaction,
      progress_bar(
        len(image_ids), f'looking up images of {folder.name}', 'images'
      ) as bar,
    ):
      for image_id in image_ids:
        get(transaction, image_id, self._name(image_id))
        bar.update(1)
    self._limits = self._known_limits()
    first, _ = self._read_unchecked(0)
    regions_lib.check_regions(first, self._name(image_ids[0]))
    self.feature_size = first.features.shape[1]
    self.feature_dtype = first.features.dtype

  def __getstate__(self) -> dict[str, Any]:
    return self.__dict__ | {'_environment': None}

  def read(self, image: int) -> Regions:
    """Returns the regions of an image. Safe to call from threads."""
    return self.read_with_confidence(image)[0]

  def read_with_confidence(
    self, image: int
  ) -> tuple[Regions, np.ndarray | None]:
    """Returns `read`, and a confidence per region if the record has them."""
    regions, confidence = self._read_unchecked(image)
    regions_lib.check_regions(
      regions,
      self._name(self._image_ids[image]),
      self.feature_size,
      self.feature_dtype,
    )
    return regions, confidence

  def num_regions(self) -> np.ndarray:
    """Returns int32 [images], at least as many as `read` returns."""
    if self._limits is not None:
      return self._limits
    counts = np.zeros(len(self._image_ids), np.int32)
    with progress_bar(
      len(counts), f'counting regions of {self._folder.name}', 'images'
    ) as bar:
      for image in range(len(counts)):
        counts[image] = len(self.read(image).features)
        bar.update(1)
    return counts

  def _name(self, image_id: str) -> str:
    return f'image {image_id} of {self._folder}'

  def _read_unchecked(self, image: int) -> tuple[Regions, np.ndarray | None]:
    name = self._name(self._image_ids[image])
    if self._environment is None:
      self._environment = open_folder(self._folder, 'image')
    with self._environment.begin() as transaction:
      value = get(transaction, self._image_ids[image], name)
    record = decode_image(value, name)
    features = array_of(record, 'features', name)
    boxes = array_of(record, 'norm_bb', name)
    if boxes.ndim != 2 or boxes.shape[1] != 6:
      raise bad(
        f'{name}: norm_bb',
        'of shape [regions, 6]',
        list(boxes.shape),
        "write x1 y1 x2 y2 w h, divided by the image's width or height",
      )
    if features.ndim != 2:
      raise bad(
        f'{name}: features',
        'of shape [regions, numbers]',
        list(features.shape),
        'extract the image again',
      )
    limit = len(features)
    if self._limits is not None:
      limit = int(self._limits[image])
    elif self._rule:
      confidences = array_of(record, 'conf', name)
      if confidences.shape != (limit,):
        raise bad(
          f'{name}: conf',
          f'of shape [{limit}], one per region',
          list(confidences.shape),
          'extract the image again',
        )
      if np.isnan(confidences).any():
        raise bad(f'{name}: conf', 'finite', 'NaN', 'extract the image again')
      limit = self._count_confident(confidences)
    stored = record.get('conf')
    return (
      Regions(features[:limit], regions_lib.make_boxes7(boxes[:limit])),
      stored[:limit]
      if isinstance(stored, np.ndarray) and stored.ndim
      else None,
    )

  def _count_confident(self, confidences: np.ndarray) -> int:
    """Returns how many regions to keep if the folder contains all of them."""
    # In the stored precision, as the reference compares.
    above = int((confidences > self._rule['conf_threshold']).sum())
    return min(self._rule['max_boxes'], max(self._rule['min_boxes'], above))

  def _known_limits(self) -> np.ndarray | None:
    """Returns int32 [images], or None if the records have to be counted."""
    if 'num_boxes' in self._rule:
      return np.full(len(self._image_ids), self._rule['num_boxes'], np.int32)
    name = self._folder.name.removesuffix('_compressed')
    path = self._folder.parent / f'nbb_{name.removeprefix("feat_")}.json'
    if not name.startswith('feat_') or not path.exists():
      return None
    counts = read_json(path)
    for image_id in self._image_ids:
      if type(counts.get(image_id)) is not int or counts[image_id] < 1:
        raise bad(
          f'{path}: number of boxes of image {image_id}',
          'at least 1',
          repr(counts.get(image_id)),
          'delete the file to have the boxes counted',
        )
    return np.array([counts[i] for i in self._image_ids], np.int32)


def key_of_store(folder: Path, wanted: BoxSettings) -> str:
  """Returns the real path of the store that is read, which identifies it.

  Raises:
    UserError: if no store matches, or several do.
  """
  # A link to the file identifies the same store.
  return os.path.realpath(find_image_folder(folder, wanted)[0] / 'data.mdb')


def find_image_folder(
  folder: Path, wanted: BoxSettings
) -> tuple[Path, dict[str, Any]]:
  """Returns the one store that matches the settings, and its `_rule_of`.

  Raises:
    UserError: if no store matches, or several do.
  """
  folder = Path(os.path.abspath(folder))
  if (folder / 'data.mdb').is_file():
    found = [folder]
  elif folder.is_dir():
    found = _stores_in(folder)
    if not found:
      raise no_data(folder, 'image')
  else:
    beside = ', '.join(path.name for path in _stores_in(folder.parent))
    raise UserError(
      f'image folder {folder} is missing; expected a folder with a data.mdb, '
      + (f'next to it are {beside}' if beside else 'check the path')
    )
  if all(_is_fixed(path.name) for path in found):
    # The number of regions is fixed, so no confidence is required.
    wanted = dataclasses.replace(wanted, conf_threshold=None)
  rules = [(path, _rule_of(path.name, wanted)) for path in found]
  fitting = [(path, rule) for path, rule in rules if rule is not None]
  if len(fitting) > 1:
    raise bad(
      f'image folder {folder}',
      f'or contain one store that fits {_shown(dataclasses.asdict(wanted))}',
      ', '.join(path.name for path, _ in fitting),
      f'set data.SPLIT_images to one of them, e.g. {fitting[0][0]}',
    )
  if not fitting:
    raise bad(
      f'image folder {folder}',
      f'or contain one store that fits {_shown(dataclasses.asdict(wanted))}',
      'only '
      + '; '.join(
        f'{path.name}, which needs {_needs(path.name, wanted)}'
        for path in found
      ),
      'change the settings, or set data.SPLIT_images to another store',
    )
  return fitting[0]


def _stores_in(folder: Path) -> list[Path]:
  if not folder.is_dir():
    return []
  return sorted(
    path
    for path in folder.iterdir()
    if _STORE_NAME.fullmatch(path.name) and (path / 'data.mdb').is_file()
  )


def _is_fixed(name: str) -> bool:
  match = _STORE_NAME.fullmatch(name)
  return bool(match and match['num_boxes'])


def _needs(name: str, wanted: BoxSettings) -> str:
  """Returns the settings that select a store of this name."""
  match = _STORE_NAME.fullmatch(name)
  if match and match['num_boxes']:
    lower = (
      [f'{_SETTINGS["conf_threshold"]} below 0']
      if wanted.conf_threshold is not None
      else []
    )
    higher = (
      [f'{_SETTINGS["max_boxes"]} of {match["num_boxes"]} or more']
      if _is_more(match['num_boxes'], wanted)
      else []
    )
    return ' and '.join(lower + higher)
  if not match or match['conf_threshold'] is None:
    return f'{_SETTINGS["conf_threshold"]} of 0 or more'
  return _shown({key: match[key] for key in _DEFAULTS})


def _is_more(num_boxes: str, wanted: BoxSettings) -> bool:
  """Returns whether a fixed number of boxes exceeds the maximum asked for."""
  return wanted.max_boxes is not None and int(num_boxes) > wanted.max_boxes


def _shown(values: dict[str, Any]) -> str:
  return (
    ', '.join(
      f'{_SETTINGS.get(key, key)}={value}'
      for key, value in values.items()
      if value is not None
    )
    or 'no settings'
  )


def _rule_of(name: str, wanted: BoxSettings) -> dict[str, Any] | None:
  """Returns how to select a store's regions, or None if it does not match.

  Returns:
    num_boxes; or conf_threshold, max_boxes and min_boxes; or nothing if
    the regions were selected when the store was written: selecting again by
    the rounded confidences could lose a region.
  """
  match = _STORE_NAME.fullmatch(name)
  stored = match.groupdict() if match else {}
  if match and wanted.compressed not in (None, bool(stored['compressed'])):
    return None
  is_fixed = stored.get('num_boxes') is not None
  if wanted.conf_threshold is not None and (
    is_fixed != (wanted.conf_threshold < 0)
  ):
    return None
  if is_fixed and _is_more(stored['num_boxes'], wanted):
    return None
  rule: dict[str, Any] = {}
  for key in ('num_boxes',) if is_fixed else tuple(_DEFAULTS):
    requested = getattr(wanted, key)
    if stored.get(key) is None:
      rule[key] = _DEFAULTS[key] if requested is None else requested
    elif requested in (None, float(stored[key])):
      rule[key] = (
        float(stored[key]) if key == 'conf_threshold' else (int(stored[key]))
      )
    else:
      return None
  return {} if stored.get('conf_threshold') else rule
