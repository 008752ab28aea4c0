"""Opens and decodes the files of UNITER's LMDB folders.

Nothing in a record is ever executed: arrays are decoded here, and pickled
ones are rejected.
"""

import io
import json
import threading
import weakref
from pathlib import Path
from typing import Any

import lmdb
import lz4.frame
import numpy as np

from tagsdc_jax.errors import UserError, named
from tagsdc_jax.files import kind_of_text

# Not msgpack.unpackb: msgpack_numpy.patch(), if anything in the process calls
# it, replaces it with a version that unpickles.
try:
  from msgpack._cmsgpack import unpackb
except ImportError:
  from msgpack.fallback import unpackb

# LMDB refuses to open a file twice in a process, and the splits of a data set
# share their image folder. A file is closed when its last user is gone.
_OPEN_FILES: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
_OPEN_LOCK = threading.Lock()


def open_folder(folder: Path, kind: str) -> lmdb.Environment:
  """Returns the LMDB of a folder, the same object for the same file."""
  path = folder / 'data.mdb'
  with named(folder, 'read'):
    if not folder.is_dir():
      raise UserError(
        f'{kind} folder {folder} is missing; expected a folder '
        'with a data.mdb, check the path'
      )
    if not path.is_file():
      raise no_data(folder, kind)
  with named(path, 'read'):
    status = path.stat()
    path.open('rb').close()
  key = (status.st_dev, status.st_ino)
  with _OPEN_LOCK:
    environment = _OPEN_FILES.get(key)
    if environment is None:
      try:
        environment = lmdb.open(
          str(folder), readonly=True, create=False, lock=False, readahead=False
        )
      except lmdb.Error as error:
        found = kind_of_text(path)
        if found:
          raise UserError(f'{path} is {found}') from error
        reason = error if status.st_size else 'an empty file'
        raise bad(
          path, 'an LMDB file', reason, 'copy or download it again'
        ) from error
      _OPEN_FILES[key] = environment
  # Reading past the end of a memory map would kill the process.
  pages = environment.info()['last_pgno'] + 1
  expected = pages * environment.stat()['psize']
  if status.st_size < expected:
    raise bad(
      path,
      f'{expected} bytes long',
      f'{status.st_size}: it is truncated',
      'copy or download it again',
    )
  return environment


def get(transaction: lmdb.Transaction, key: str, name: str) -> Any:
  """Returns a record's bytes; with buffers, a view that is read when used."""
  try:
    value = transaction.get(key.encode('utf-8'))
  except lmdb.Error as error:
    raise bad(name, 'in data.mdb', error, 'write the folder again') from error
  if value is None:
    raise bad(
      name,
      'in data.mdb',
      'no record of that name',
      'check that the text and image folders belong together and are complete',
    )
  return value


def decode_text(value: bytes, name: str) -> dict[str, Any]:
  """Returns a caption's record; raises UserError with its name."""
  try:
    record = unpackb(lz4.frame.decompress(value), raw=False)
  except Exception as error:  # corrupt bytes raise anything
    raise _undecodable(name, error) from error
  return _check_dict(record, name)


def decode_image(value: bytes, name: str) -> dict[str, Any]:
  """Returns an image's record; raises UserError with its name."""
  try:
    if value[:2] == b'PK':  # npz; its entry "allow_pickle" is ignored
      with np.load(io.BytesIO(value), allow_pickle=False) as stored:
        wanted = {'features', 'norm_bb', 'conf'} & set(stored.files)
        record = {key: stored[key] for key in wanted}
    else:
      record = unpackb(value, raw=False, object_hook=_unpack_array)
  except Exception as error:  # corrupt bytes raise anything
    raise _undecodable(name, error) from error
  return _check_dict(record, name)


def _unpack_array(item: dict) -> Any:
  """Returns the array that msgpack_numpy wrote; never unpickles."""
  if b'nd' not in item:
    return item
  if not isinstance(item[b'type'], str) or item.get(b'kind'):
    raise ValueError('arrays of objects are refused')
  dtype = np.dtype(item[b'type'])
  if dtype.hasobject:
    raise ValueError('arrays of objects are refused')
  values = np.frombuffer(item[b'data'], dtype)
  return values.reshape(item[b'shape']) if item[b'nd'] is True else values[0]


def array_of(record: dict[str, Any], key: str, name: str) -> np.ndarray:
  """Returns an array from a record; raises UserError if there is none."""
  array = record.get(key)
  if array is None:
    raise bad(
      f'{name}: {key}',
      'in the record',
      f'only {", ".join(map(str, record)) or "an empty record"}',
      'extract the image again',
    )
  if (
    not isinstance(array, np.ndarray)
    or not array.ndim
    or array.dtype.kind not in 'fiu'
  ):
    raise bad(
      f'{name}: {key}',
      'an array of numbers',
      getattr(array, 'dtype', type(array).__name__),
      'extract the image again',
    )
  return array


def read_json(path: Path) -> dict[str, Any]:
  """Returns the dictionary in a JSON file; raises UserError with its path."""
  if not path.is_file():
    raise UserError(
      f'{path} is missing; expected it in this folder, copy or '
      'download the folder again'
    )
  try:
    with named(path, 'read'):
      content = json.loads(path.read_text('utf-8'))
  except ValueError as error:
    raise bad(path, 'a JSON file', error, 'copy or download it again') from (
      error
    )
  return _check_dict(content, str(path))


def _check_dict(content: Any, name: str) -> dict[str, Any]:
  if not isinstance(content, dict):
    raise bad(name, 'a dict', type(content).__name__, 'write it again')
  return content


def no_data(folder: Path, kind: str) -> UserError:
  """Returns the error for a folder without an LMDB."""
  entries = sorted(path.name for path in folder.iterdir())
  shown = ', '.join(entries[:8]) + (', ...' if len(entries) > 8 else '')
  return UserError(
    f'{kind} folder {folder} must contain a data.mdb, but contains '
    f'{shown or "nothing"}; pass the folder of one LMDB'
  )


def _undecodable(name: str, error: Exception) -> UserError:
  return bad(
    f'record of {name}',
    'readable',
    ' '.join(str(error).split()),
    'copy or download the folder again, or write it again',
  )


def bad(name: Any, expected: Any, actual: Any, remedy: str) -> UserError:
  """Returns the error for a value that cannot be used."""
  return UserError(f'{name} must be {expected}, got {actual}; {remedy}')
