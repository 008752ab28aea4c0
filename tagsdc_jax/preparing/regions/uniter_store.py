"""UNITER's LMDB of images, with the regions that `data/lmdb_images` selects."""

import itertools
from pathlib import Path

import lmdb

from tagsdc_jax import errors
from tagsdc_jax.data import lmdb_files, lmdb_images
from tagsdc_jax.preparing.regions.file_store import FileStore
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

# UNITER stores the list of all names under this name.
_LIST = b'__keys__'
_TRIED = 20


class UniterLmdbStore(FileStore):
  """All images of a folder; regions by the rule in the folder's name."""

  kind = 'UNITER LMDB'

  def __init__(self, path: Path) -> None:
    wanted = lmdb_images.BoxSettings()
    folder, _ = lmdb_images.find_image_folder(path, wanted)
    names = _names_in(folder)
    super().__init__(path, names, [folder / 'data.mdb'])
    if not names:
      self._open()  # Raises.
    # The store compares images with its first, so that must be a good one.
    first = _first_good(folder, names, wanted)
    names = [first, *(name for name in names if name != first)]
    self._places = {name: i for i, name in enumerate(names)}
    self._store = lmdb_images.ImageStore(folder, tuple(names), wanted)
    self.feature_size = self._store.feature_size

  def _try(self, name: str) -> StoredRegions | Unreadable:
    try:
      return super()._try(name)
    except errors.UserError as error:
      return Unreadable(str(error))

  def _read(self, name: str) -> StoredRegions:
    regions, confidence = self._store.read_with_confidence(self._places[name])
    # The seventh number is the area, which is computed.
    return StoredRegions(regions.features, regions.boxes[:, :6], confidence)


def _names_in(folder: Path) -> list[str]:
  environment = lmdb_files.open_folder(folder, 'image')
  try:
    with environment.begin(buffers=True) as transaction:
      with transaction.cursor() as cursor:
        keys = [bytes(key) for key in cursor.iternext(values=False)]
      first = next((key for key in keys if key != _LIST), None)
      if first is not None:
        _check_no_pickle(folder, bytes(transaction.get(first) or b''))
    return [key.decode('utf-8') for key in keys if key != _LIST]
  except (lmdb.Error, UnicodeDecodeError) as error:
    raise lmdb_files.bad(
      folder / 'data.mdb',
      'an LMDB whose keys are names of images',
      ' '.join(str(error).split()),
      'copy or download it again',
    ) from error


def _check_no_pickle(folder: Path, head: bytes) -> None:
  # Pickles of protocol 2 to 5. In msgpack, an empty dict and a number.
  if head[:1] == b'\x80' and head[1:2] in (b'\x02', b'\x03', b'\x04', b'\x05'):
    raise errors.UserError(f'{folder} holds {PICKLED}')


PICKLED = (
  'pickles, which can run code when they are read, so they are refused; '
  'where you trust them, save every picture with '
  "numpy.savez(NAME + '.npz', x=features, bbox=boxes, "
  'num_bbox=len(boxes), image_h=height, image_w=width), and pass that folder'
)


def _first_good(
  folder: Path, names: list[str], wanted: lmdb_images.BoxSettings
) -> str:
  """Returns the first name whose record can be read."""
  first: errors.UserError | None = None
  for name in itertools.islice(names, _TRIED):
    try:
      lmdb_images.ImageStore(folder, (name,), wanted)
      return name
    except errors.UserError as error:
      first = first or error
  assert first is not None
  raise first
