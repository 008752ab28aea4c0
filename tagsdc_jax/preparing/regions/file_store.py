"""What the stores on disk share: checks of a picture, and how it is named.

A store raises UserError for what is wrong with a file as a whole, when it is
opened. What is wrong with one picture is `Unreadable`, and the others are
read.
"""

import abc
import itertools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

# Pictures tried for one that can be read, which gives the number of features.
_TRIED = 20
AGAIN = 'extract it again, or leave it out'


class DamagedError(Exception):
  """Why one picture cannot be read: what was expected, and what came."""


class FileStore(abc.ABC):
  """Base of the stores on disk, a `RegionStore`. Can be pickled.

  Attributes:
    path: the file or folder, as the user named it.
    kind: name of the format.
    names: of all pictures in it.
    sources: the files that are read.
    notes: what was found when it was opened, one line each; often none.
    feature_size: numbers per region, the same for all pictures.
  """

  kind = ''

  def __init__(
    self, path: Path, names: Iterable[str], sources: Iterable[Path]
  ) -> None:
    self.path = str(path)
    # A number per name. Subclasses use it as the picture's place.
    self._places: Mapping[str, int] = {name: i for i, name in enumerate(names)}
    self.sources: Sequence[str] = tuple(map(str, sources))
    self.notes: tuple[str, ...] = ()
    self.feature_size = 0

  @property
  def names(self) -> Collection[str]:
    """The names of all pictures."""
    return self._places.keys()

  def read(self, names: Sequence[str]) -> list[StoredRegions | Unreadable]:
    """Returns the regions of the named pictures, which are in `names`.

    Raises:
      UserError: if the file system refuses, e.g. because the disk fails.
    """
    return [self._try(name) for name in names]

  @abc.abstractmethod
  def _read(self, name: str) -> StoredRegions:
    """Returns a picture's regions; raises DamagedError if it cannot."""

  def _where(self, name: str) -> str:
    """Returns the file and the picture, for messages."""
    return f'{self.path}: picture {name}'

  def _open(self) -> None:
    """Finds the number of features; to be called when a store is complete.

    Raises:
      UserError: if the store is empty, or none of the first pictures can be
        read.
    """
    if not self._places:
      raise errors.UserError(
        f'{self.path} must contain regions of pictures ({self.kind}), but '
        'contains none; copy or download it again'
      )
    first = ''
    for name in itertools.islice(self._places, _TRIED):
      found = self._try(name)
      if isinstance(found, StoredRegions):
        self.feature_size = found.features.shape[1]
        return
      first = first or found.reason
    tried = min(_TRIED, len(self._places))
    if tried == 1:
      raise errors.UserError(first)
    raise errors.UserError(
      f'{self.path} cannot be read as {self.kind}: none of its first {tried} '
      f'pictures can; the first: {first}'
    )

  def _try(self, name: str) -> StoredRegions | Unreadable:
    try:
      with errors.named(Path(self.path), 'read'):
        regions = self._read(name)
      check(regions, self.feature_size)
      return regions
    except DamagedError as error:
      text = str(error)
      remedy = '' if '; ' in text else f'; {AGAIN}'
      return Unreadable(f'{self._where(name)}: {text}{remedy}')


def open_file(path: Path) -> BinaryIO:
  """Returns a picture's file, open; raises DamagedError if it is no file."""
  try:
    return open(path, 'rb')
  except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
    raise DamagedError(f'cannot be opened: {error.strerror}') from error


def check(regions: StoredRegions, feature_size: int = 0) -> None:
  """Raises DamagedError if shapes do not agree, or a number is not finite.

  Args:
    regions: of one picture.
    feature_size: the store's numbers per region; 0: any.
  """
  features, boxes = regions.features, regions.boxes
  if features.ndim != 2 or not features.shape[1]:
    raise DamagedError(
      f'features must have shape [regions, numbers], got {_shape(features)}'
    )
  count = len(features)
  if not count:
    raise DamagedError('must have at least 1 region, got 0')
  if feature_size not in (0, features.shape[1]):
    raise DamagedError(
      f'features must have {feature_size} numbers per region, as other '
      f'pictures have, got {features.shape[1]}'
    )
  if boxes is not None and boxes.shape not in ((count, 4), (count, 6)):
    raise DamagedError(
      f'boxes must have shape [{count}, 4] or [{count}, 6], one per region, '
      f'got {_shape(boxes)}'
    )
  arrays: dict[str, Any] = {
    'features': features,
    'boxes': boxes,
    'confidence': regions.confidence,
    'labels': regions.labels,
  }
  for what, values in arrays.items():
    if values is None:
      continue
    if values.dtype.kind not in 'fiu':
      raise DamagedError(f'{what} must be numbers, got {values.dtype}')
    if values.ndim == 1 and len(values) != count:
      raise DamagedError(
        f'{what} must be {count}, one per region, got {len(values)}'
      )
    is_finite = np.isfinite(values)
    if not is_finite.all():
      place = np.argwhere(~is_finite)[0]
      raise DamagedError(
        f'{what} must be finite, got {values[tuple(place)]} in region '
        f'{place[0]}'
      )
  for what, size in (('width', regions.width), ('height', regions.height)):
    if size < 0:
      raise DamagedError(f'{what} of the picture must be positive, got {size}')


def read_at(descriptor: int, size: int, begin: int) -> bytes:
  """Returns bytes of an open file; safe for threads and forked processes.

  Not mapped: pages of a map would count as memory of this process.

  Raises:
    DamagedError: if the file has become shorter.
  """
  content = os.pread(descriptor, size, begin)
  if len(content) != size:
    raise DamagedError(
      f'must be {size} bytes at {begin}, got {len(content)}: the file was '
      'changed meanwhile'
    )
  return content


def whole_number(value: Any, what: str) -> int:
  """Returns a number of at most nine digits; raises DamagedError otherwise."""
  array = np.asarray(value)
  if array.size != 1 or array.dtype.kind not in 'fiu':
    raise DamagedError(f'{what} must be a whole number, got {shown(value)}')
  number = float(array.reshape(()))
  if not 0 <= number < 1e9 or number != int(number):
    raise DamagedError(f'{what} must be a whole number, got {shown(value)}')
  return int(number)


def shown(value: Any, limit: int = 40) -> str:
  """Returns a value for a message, cut to one short line."""
  text = ' '.join(repr(value).split())
  return text if len(text) <= limit else f'{text[:limit]}...'


def _shape(array: np.ndarray) -> str:
  return str(list(array.shape))
