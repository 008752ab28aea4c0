"""Opens region features on disk, and finds out by looking what they are.

Add a format to STORES, and what it looks like to `_kind_of_folder` or
`_kind_of_file`.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from tagsdc_jax import errors, files, paths
from tagsdc_jax.preparing.regions import lines, npz_folder, tsv, vinvl
from tagsdc_jax.preparing.regions.file_store import (
  DamagedError,
  FileStore,
  shown,
)
from tagsdc_jax.preparing.regions.grid_feats import SUFFIX as PTH
from tagsdc_jax.preparing.regions.grid_feats import GridFeatsStore
from tagsdc_jax.preparing.regions.precomp import IMAGES, PrecompStore
from tagsdc_jax.preparing.regions.uniter_store import PICKLED, UniterLmdbStore
from tagsdc_jax.preparing.regions.up_down_h5 import UpDownStore

# Name, as users give it -> what opens it.
STORES: dict[str, Callable[[Path], FileStore]] = {
  'uniter_lmdb': UniterLmdbStore,
  'uniter_npz': npz_folder.UniterNpzStore,
  'butd_tsv': tsv.ButdStore,
  'lxmert_tsv': tsv.LxmertStore,
  'bua_npz': npz_folder.BuaStore,
  'vinvl_retrieval': vinvl.RetrievalStore,
  'vinvl_captioning': vinvl.CaptioningStore,
  'vinvl_predictions': vinvl.PredictionsStore,
  'precomp': PrecompStore,
  'updown_h5': UpDownStore,
  'grid_feats': GridFeatsStore,
}
_FOLDERS = ('uniter_lmdb', 'uniter_npz', 'bua_npz', 'precomp', 'grid_feats')
_H5 = ('.h5', '.hdf5')
_COLUMNS = {6: 'butd_tsv', 10: 'lxmert_tsv', 3: 'vinvl_retrieval'}
_PICKLE = tuple(b'\x80' + bytes([protocol]) for protocol in range(2, 6))


def open_store(path: str, kind: str | None = None) -> FileStore:
  """Returns the region features at a path, a `RegionStore`.

  Args:
    path: a file, or a folder with the files of one data set.
    kind: a key of STORES; None: find out by looking.
  Raises:
    UserError: if the path is missing, the format is unknown or refused, or a
      file is damaged as a whole.
  """
  place = paths.local(path)
  with errors.named(place, 'read'):
    if not place.exists():
      raise errors.UserError(
        f'region features {place} are missing; check the path'
      )
    if place.name == 'data.mdb':
      place = place.parent
    if kind is None:
      place, kind = _kind_of(place)
    elif kind not in STORES:
      raise errors.UserError(
        f'kind of {place} must be one of {", ".join(STORES)}, got {kind!r}'
      )
    if place.is_dir() != (kind in _FOLDERS):
      wanted, found = (
        ('folder', 'file') if kind in _FOLDERS else ('file', 'folder')
      )
      raise errors.UserError(
        f'{place} must be a {wanted} to be read as {kind}, got a {found}; '
        'pass another path, or another --regions-format'
      )
    if place.is_file():
      _check_file(place)
    try:
      return STORES[kind](place)
    except DamagedError as error:
      raise errors.UserError(f'{place}: {error}') from error


def _kind_of(path: Path) -> tuple[Path, str]:
  """Returns the file or folder to read, and its kind."""
  if not path.is_dir():
    return path, _kind_of_file(path)
  if (path / 'data.mdb').is_file():
    return path, 'uniter_lmdb'
  with os.scandir(path) as entries:
    names = sorted(e.name for e in entries if not e.name.startswith('.'))
  if len(names) == 1 and (path / names[0]).is_dir():
    return _kind_of(path / names[0])
  if any(name.endswith(IMAGES) for name in names):
    return path, 'precomp'
  if any((path / name / 'data.mdb').is_file() for name in names[:100]):
    return path, 'uniter_lmdb'
  if npz := [name for name in names if name.endswith(npz_folder.SUFFIX)]:
    return path, _kind_of_npz(path, npz)
  if any(name.endswith(PTH) for name in names):
    return path, 'grid_feats'
  single = [name for name in names if name.endswith(('.tsv', *_H5))]
  if len(single) > 1 and 'features.tsv' in single:
    single = ['features.tsv']
  if len(single) == 1:
    file = path / single[0]
    return file, _kind_of_file(file)
  if single:
    raise errors.UserError(
      f'{path} must contain one file of region features, got '
      f'{", ".join(single[:8])}; pass one of them'
    )
  if any(name.endswith(('.npy', '.pkl', '.pickle')) for name in names):
    raise errors.UserError(f'{path} holds {PICKLED}')
  raise errors.UserError(
    f'{path} must contain region features ({", ".join(STORES)}), got '
    f'{", ".join(names[:8]) or "nothing"}; pass their file or folder'
  )


def _kind_of_npz(folder: Path, names: list[str]) -> str:
  """Returns the kind of a folder of .npz files, by the first readable one."""
  for name in names[:20]:
    members = set(npz_folder.members(folder / name))
    if 'norm_bb' in members:
      return 'uniter_npz'
    if 'bbox' in members and 'x' in members:
      return 'bua_npz'
    if members:
      raise errors.UserError(
        f'{folder / name} must contain features and norm_bb (UNITER npz), or x '
        f'and bbox (BUA npz), got {shown(sorted(members), 80)}; rename the '
        'arrays'
      )
  raise errors.UserError(
    f'{folder} must contain .npz files of arrays, but {names[0]} and others '
    'cannot be read; copy, download or extract them again'
  )


def _check_file(path: Path) -> None:
  """Raises UserError for a web page, an LFS pointer, or an empty file."""
  with open(path, 'rb') as file:
    head = file.read(64)
  if not head.strip():
    raise errors.UserError(f'{path} is empty; copy or download it again')
  files.check_no_pointer(path)
  if head.lstrip()[:1] == b'<':
    raise errors.UserError(f'{path} is {files.kind_of_text(path)}')


def _kind_of_file(path: Path) -> str:
  _check_file(path)
  with open(path, 'rb') as file:
    head = file.read(8)
  if head == b'\x89HDF\r\n\x1a\n' or path.suffix in _H5:
    return 'updown_h5'
  if head[:2] in _PICKLE or path.suffix in ('.pkl', '.pickle'):
    raise errors.UserError(f'{path} holds {PICKLED}')
  for suffix, kind in (
    (IMAGES, 'precomp'),
    (npz_folder.SUFFIX, 'npz'),
    (PTH, 'grid_feats'),
  ):
    if path.name.endswith(suffix):
      raise errors.UserError(
        f'{path} is one file of a folder of region features ({kind}); pass '
        f'the folder, {path.parent}'
      )
  if head[:6] == b'\x93NUMPY' or path.suffix == '.npy':
    raise errors.UserError(f'{path} holds {PICKLED}')
  return _kind_of_tsv(path)


def _kind_of_tsv(path: Path) -> str:
  """Returns the kind of a tab-separated file by its first line."""
  line = lines.first_line(path)
  fields = line.split(b'\t')
  if len(fields) in _COLUMNS:
    return _COLUMNS[len(fields)]
  if len(fields) == 2:
    text = fields[1].strip()
    if text[:1] == b'[':
      return 'vinvl_predictions'
    if text[:1] in (b'{', b'"'):
      try:
        found = json.loads(text.strip(b'"').replace(b'""', b'"'))
      except (ValueError, RecursionError):
        # Its first line is damaged.
        found = [
          key for key in ('objects', 'num_boxes') if key.encode() in text
        ]
      return 'vinvl_predictions' if 'objects' in found else 'vinvl_captioning'
  raise errors.UserError(
    f'{path} must have 6 columns (butd_tsv), 10 (lxmert_tsv), 3 '
    '(vinvl_retrieval) or 2 (vinvl_captioning, vinvl_predictions) with tabs '
    f'between them, got {len(fields)}, beginning with {shown(line[:40], 60)}; '
    'pass --regions-format, or convert it to one of these formats'
  )
