"""Finds the LMDB folders among the recordings, whatever their names."""

from pathlib import Path
from typing import Any

from tagsdc_jax.comparison.recordings import Missing, Recordings
from tagsdc_jax.data import uniter_lmdb
from tagsdc_jax.data.dataset import RetrievalDataset

EXPECTED = 'lmdb_expected.npz'  # Its entry says how regions are chosen.
_DATA, _META = 'data.mdb', 'meta.json'
# The release's names of settings, and ours.
_CHOICE = {
  'conf_th': 'conf_threshold',
  'max_bb': 'max_boxes',
  'min_bb': 'min_boxes',
}


def text_folder(recordings: Recordings) -> Path:
  """Returns the folder of captions."""
  found = [path for path in _folders(recordings) if (path / _META).is_file()]
  if not found:
    raise Missing('there is no LMDB folder of captions (data.mdb, meta.json)')
  return found[0]


def image_stores(recordings: Recordings) -> list[Path]:
  """Returns the folders of region features, sorted by path."""
  found = [
    path for path in _folders(recordings) if not (path / _META).is_file()
  ]
  if not found:
    raise Missing('there is no LMDB folder of regions (data.mdb)')
  return found


def has_fixed_number(store: Path) -> bool:
  """Returns whether a folder has the same number of regions for all images."""
  return store.name.startswith('feat_numbb')


def choice(recordings: Recordings, store: Path) -> dict[str, Any]:
  """Returns the options of `load_uniter_lmdb` that choose a store's regions."""
  given = recordings.entry(EXPECTED).get('settings', {})
  if has_fixed_number(store):
    return {'conf_threshold': -1, 'num_boxes': given.get('num_bb')}
  return {ours: given.get(theirs) for theirs, ours in _CHOICE.items()}


def open_dataset(
  recordings: Recordings, store: Path | None = None, **options: Any
) -> RetrievalDataset:
  """Returns the recordings' captions and images.

  Args:
    recordings: the opened folder.
    store: folder of region features; None means the first one with a confidence
      threshold, which is what the release trains and evaluates with.
    **options: further options of `load_uniter_lmdb`.
  """
  stores = image_stores(recordings)
  if store is None:
    store = next((s for s in stores if s.name.startswith('feat_th')), stores[0])
  return uniter_lmdb.load_uniter_lmdb(
    text_folder(recordings), store, **(choice(recordings, store) | options)
  )


def _folders(recordings: Recordings) -> list[Path]:
  """Returns all LMDB folders and marks those in the manifest as used."""
  found = sorted(path.parent for path in recordings.folder.rglob(_DATA))
  for name in recordings.manifest.get('other_files', {}):
    listed = recordings.folder / name
    if any(listed in (path, *path.parents) for path in found):
      recordings.path(name)
  return found
