"""Reads foil files of any known shape, found by looking at the content."""

import collections
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tagsdc_jax import errors, paths
from tagsdc_jax.foil_files import (
  aro,
  cs_clip,
  fg_ovd,
  fields,
  foil_v1,
  loading,
  own,
  quads,
  records,
  triplets,
  valse,
  vl_checklist,
)


class Shape(NamedTuple):
  """How files of a shape are recognized and read."""

  looks: Callable[[loading.Content], bool]
  read: Callable[[loading.Content], records.FoilFile]


# In the order in which they are tried: what says most comes first.
SHAPES = {
  'FOIL': Shape(foil_v1.looks, foil_v1.read),
  'FG-OVD': Shape(fg_ovd.looks, fg_ovd.read),
  'VL-CheckList': Shape(vl_checklist.looks, vl_checklist.read),
  'quads': Shape(quads.looks, quads.read),
  'CS-CLIP': Shape(cs_clip.looks, cs_clip.read),
  'VALSE': Shape(valse.looks, valse.read),
  'ARO': Shape(aro.looks, aro.read),
  'triplets': Shape(triplets.looks, triplets.read),
}
_EXPECTED = (
  'SugarCrepe, SugarCrepe++, BiVLC, VALSE, FG-OVD, FOIL, ARO, VL-CheckList, '
  'Winoground, ColorSwap, COLA, a table with a list of foils, or negatives of '
  'tagsdc generate'
)


def read(path: Path) -> records.FoilFile:
  """Returns the items of a file.

  Args:
    path: the file.
  Raises:
    UserError: if it is missing, damaged, or of no known shape.
  """
  paths.file(str(path))
  if own.looks(path):
    return own.read(path)
  content = loading.load(path)
  for shape in SHAPES.values():
    if shape.looks(content):
      return shape.read(content)
  first = content.first
  hint = (
    '; it has captions without foils, which tagsdc generate makes'
    if fields.key_of(first, fields.PICTURES)
    and fields.key_of(first, (*fields.CAPTIONS, 'captions'))
    else ''
  )
  raise errors.UserError(
    f'{path}: expected a foil file ({_EXPECTED}), got records like '
    f'{loading.describe(first)}{hint}'
  )


def read_all(files: Sequence[Path]) -> list[records.FoilFile]:
  """Returns the items of several files, with kinds that tell files apart.

  Files of one benchmark may share a kind (VALSE's three about counting, files
  with one name in two folders); then the file is added to it.

  Raises:
    UserError: see `read`; also if a file is named twice.
  """
  seen: dict[str, Path] = {}
  for path in files:
    place = os.path.realpath(path)
    if place in seen:
      raise errors.UserError(
        f'{seen[place]} and {path} are the same file; name it once'
      )
    seen[place] = path
  return with_own_kinds([read(path) for path in files])


def with_own_kinds(found: Sequence[records.FoilFile]) -> list[records.FoilFile]:
  """Returns the files with kinds that only one file of a family has.

  Kinds that name a type of change, as BiVLC's and ours, stay as they are.
  """
  owners: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
  for number, file in enumerate(found):
    for kind in dict.fromkeys(item.kind for item in file.items):
      owners[file.family, kind].append(number)
  changed = list(found)
  for (family, kind), numbers in owners.items():
    if len(numbers) < 2 or family not in _BY_FILE:
      continue
    names = _short_names([found[number].path for number in numbers])
    for number, name in zip(numbers, names, strict=True):
      own = (
        name if kind == fields.stem(found[number].path) else f'{kind}: {name}'
      )
      changed[number] = dataclasses.replace(
        changed[number],
        items=[
          dataclasses.replace(item, kind=own) if item.kind == kind else item
          for item in changed[number].items
        ],
      )
  return changed


# Families whose published numbers are by file.
_BY_FILE = (
  'SugarCrepe',
  'SugarCrepe++',
  'VALSE',
  'FG-OVD',
  'FOIL',
  'ARO',
  'VL-CheckList',
  'COLA',
  'ColorSwap',
  'CREPE',
  'NegCLIP table',
)


def _short_names(files: Sequence[str]) -> list[str]:
  """Returns the files' names without suffix, with folders where needed."""
  depth = 1
  parts = [Path(os.path.abspath(file)).with_suffix('').parts for file in files]
  while True:
    names = ['/'.join(one[-depth:]) for one in parts]
    if len(set(names)) == len(names) or depth > 20:
      return names
    depth += 1
