"""Lists the photos of a folder."""

import os
from pathlib import Path

from tagsdc_jax import errors

# Of the files that are taken for photos. Pillow does not read the last two;
# they are listed so that a message names them.
SUFFIXES = (
  '.jpg',
  '.jpeg',
  '.jpe',
  '.jfif',
  '.png',
  '.apng',
  '.webp',
  '.gif',
  '.bmp',
  '.tif',
  '.tiff',
  '.ppm',
  '.pgm',
  '.pbm',
  '.avif',
  '.jp2',
  '.heic',
  '.heif',
)


def photo_names(folder: Path) -> tuple[str, ...]:
  """Returns the paths of all photos, relative to the folder, sorted, with "/".

  Folders within are searched, links to folders followed; what is hidden is not
  listed.

  Args:
    folder: to search.
  Raises:
    UserError: if it is missing, unreadable, or has no photos, or if a name is
      not UTF-8.
  """
  with errors.named(folder, 'read'):
    if not folder.is_dir():
      found = 'is a file' if folder.exists() else 'is missing'
      raise errors.UserError(
        f'{folder} must be a folder of photos, but {found}; pass another path'
      )
    names = sorted(_walk(folder, '', frozenset()))
  if not names:
    raise errors.UserError(
      f'{folder} has no photos ({", ".join(SUFFIXES[:5])} and the like); pass '
      'another folder'
    )
  for name in names:
    try:
      name.encode()
    except UnicodeEncodeError as error:
      raise errors.UserError(
        f'{folder}: the name of a photo must be UTF-8, got {name!r}; rename it'
      ) from error
  return tuple(names)


def _walk(folder: Path, prefix: str, above: frozenset[str]) -> list[str]:
  """Returns the names below a folder, each with the prefix.

  Args:
    folder: to search.
    prefix: its own name, with "/" at the end.
    above: the real paths of the folders that contain it; links back to them
      are not followed.
  """
  place = os.path.realpath(folder)
  if place in above:
    return []
  names: list[str] = []
  with os.scandir(folder) as entries:
    for entry in entries:
      if entry.name.startswith('.'):
        continue
      name = prefix + entry.name
      if entry.is_dir():
        names += _walk(Path(entry.path), f'{name}/', above | {place})
      elif os.path.splitext(name)[1].lower() in SUFFIXES:
        names.append(name)
  return names
