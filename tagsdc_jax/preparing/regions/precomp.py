"""The precomp folders of SCAN and VSE-infinity: arrays, and lists of ids."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.preparing.regions.file_store import (
  DamagedError,
  FileStore,
  read_at,
  shown,
)
from tagsdc_jax.preparing.regions.store import StoredRegions

IMAGES = '_ims.npy'
# Captions per picture of these data sets, and copies of it in some files.
_COPIES = 5
_CHECKED = 20


class _Split:
  """One `{split}_ims.npy` with the lists beside it.

  Attributes:
    path: of the array.
    sources: the files that are read.
    names: of the pictures, in order.
    firsts: the first row of each picture.
    copies: rows of each picture, which are equal.
  """

  def __init__(self, path: Path, shown_path: str) -> None:
    self.path, self._shown = path.absolute(), shown_path
    stem = path.name.removesuffix(IMAGES)
    captions = path.with_name(f'{stem}_caps.txt')
    ids = path.with_name(f'{stem}_ids.txt')
    self.sources = [path, ids, *([captions] if captions.is_file() else [])]
    self._descriptor: int | None = None
    self._read_header()
    num_captions = _count_lines(captions) if captions.is_file() else None
    if not ids.is_file():
      raise errors.UserError(
        f'{ids} is missing; expected the id of a picture per line, as many '
        f'as {path.name} has pictures: write it, or download it'
      )
    self.names, self.firsts, self.copies = self._place(
      list(_lines(ids)), ids, num_captions
    )

  def __getstate__(self) -> dict:
    return self.__dict__ | {'_descriptor': None}

  def __del__(self) -> None:
    if getattr(self, '_descriptor', None) is not None:
      os.close(self._descriptor)  # type: ignore[arg-type]

  def rows(self, place: int) -> np.ndarray:
    """Returns all rows of the picture at a place, [copies, regions, F]."""
    shape = (int(self.copies[place]), *self._shape[1:])
    size = int(np.prod(shape)) * self._dtype.itemsize
    begin = self._offset + int(self.firsts[place]) * (size // shape[0])
    if self._descriptor is None:
      self._descriptor = os.open(self.path, os.O_RDONLY)
    content = read_at(self._descriptor, size, begin)
    rows = np.frombuffer(content, self._dtype).reshape(shape)
    # Some projects store one vector per picture.
    return rows[:, None] if rows.ndim == 2 else rows

  def _read_header(self) -> None:
    try:
      mapped = np.load(self.path, mmap_mode='r', allow_pickle=False)
      if not isinstance(mapped, np.memmap):
        raise ValueError('it is not one array')
      if mapped.ndim not in (2, 3) or mapped.dtype.kind != 'f':
        raise ValueError(
          f'it has shape {list(mapped.shape)} and dtype {mapped.dtype}'
        )
      if not mapped.size:
        raise ValueError(f'it has shape {list(mapped.shape)}: no numbers')
      if not mapped.flags.c_contiguous:
        raise ValueError('it is stored column by column')
    except OSError:
      raise
    except Exception as error:  # Damaged headers make numpy raise anything.
      raise errors.UserError(
        f'{self._shown} must be an array of floats [pictures, regions, '
        f'numbers], got {" ".join(str(error).split())[:120]}; copy, download '
        'or write it again'
      ) from error
    self._shape, self._dtype = mapped.shape, mapped.dtype
    self._offset = mapped.offset

  def _place(
    self, ids: list[str], path: Path, num_captions: int | None
  ) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns names, first rows and numbers of copies."""
    rows = self._shape[0]
    if len(ids) == rows:
      # Equal neighbors are the same picture, stored again.
      is_first = np.array([i == 0 or ids[i] != ids[i - 1] for i in range(rows)])
      firsts = np.flatnonzero(is_first)
      copies = np.diff(np.append(firsts, rows))
    elif len(ids) * _COPIES == rows:
      firsts = np.arange(len(ids)) * _COPIES
      copies = np.full(len(ids), _COPIES)
    elif len(ids) == rows * _COPIES and all(
      len(set(ids[i : i + _COPIES])) == 1 for i in range(0, len(ids), _COPIES)
    ):
      ids = ids[::_COPIES]
      firsts, copies = np.arange(rows), np.ones(rows, int)
    else:
      raise errors.UserError(
        f'{path} must have a line per picture of {self._shown}, {rows}, or a '
        f'fifth or five times as many, got {len(ids)}; check that they belong '
        'together'
      )
    if num_captions not in (None, rows, rows * _COPIES, len(ids)):
      raise errors.UserError(
        f'{path.with_name(path.name.replace("_ids", "_caps"))} must have as '
        f'many lines as {self._shown} has rows, {rows}, or five times as '
        f'many, got {num_captions}; check that they belong together'
      )
    names = [ids[i] for i in firsts] if len(ids) == rows else ids
    if len(ids) == rows == num_captions and copies.max() == 1:
      self._check_no_copies(path, firsts)
    return names, firsts, copies

  def _check_no_copies(self, path: Path, firsts: np.ndarray) -> None:
    """Raises UserError if pictures with different ids are equal by fives."""
    self.firsts, self.copies = firsts, np.ones(len(firsts), int)
    blocks = len(firsts) // _COPIES
    if not blocks or len(firsts) % _COPIES:
      return
    for block in range(min(blocks, _CHECKED)):
      first, *others = (
        self.rows(block * _COPIES + i).tobytes() for i in range(_COPIES)
      )
      if any(other != first for other in others):
        return
    raise errors.UserError(
      f'{path} must give the five equal rows of a picture the same id, got '
      f'other ids for rows 0 to 4 of {self._shown}; write one id per picture'
    )


class PrecompStore(FileStore):
  """All splits of a folder. An image stands once or five times in a row."""

  kind = 'precomp'

  def __init__(self, path: Path) -> None:
    files = sorted(p for p in path.iterdir() if p.name.endswith(IMAGES))
    super().__init__(path, (), ())
    self._splits = [_Split(file, str(file)) for file in files]
    self.sources = tuple(
      str(source) for split in self._splits for source in split.sources
    )
    self._twice: dict[str, str] = {}
    places: dict[str, int] = {}
    self._split_of, self._place_of = array('q'), array('q')
    for number, split in enumerate(self._splits):
      for place, name in enumerate(split.names):
        known = places.setdefault(name, len(self._split_of))
        if known == len(self._split_of):
          self._split_of.append(number)
          self._place_of.append(place)
        elif name not in self._twice:
          # The thousand pictures of test are also in testall.
          self._compare(name, known, split, place)
    self._places = places
    self._open()
    self.notes += tuple(self._counts())

  def _compare(self, name: str, known: int, split: _Split, place: int) -> None:
    other = self._splits[self._split_of[known]]
    row = self._place_of[known]
    if split.rows(place)[0].tobytes() != other.rows(row)[0].tobytes():
      self._twice[name] = (
        'must be stored once, but row '
        f'{other.firsts[row]} of {other.path.name} and row '
        f'{split.firsts[place]} of {split.path.name} differ; remove one of them'
      )

  def _counts(self) -> Iterator[str]:
    for split in self._splits:
      copies = sorted({int(x) for x in split.copies})
      times = '/'.join(map(str, copies))
      yield (
        f'{split.path.name}: {len(split.names)} pictures, each stored '
        f'{"once" if copies == [1] else f"{times} times"}'
      )

  def _where(self, name: str) -> str:
    place = self._places[name]
    split = self._splits[self._split_of[place]]
    row = split.firsts[self._place_of[place]]
    return (
      f'{os.path.join(self.path, split.path.name)}, row {row}: picture {name}'
    )

  def _read(self, name: str) -> StoredRegions:
    if name in self._twice:
      raise DamagedError(self._twice[name])
    place = self._places[name]
    split = self._splits[self._split_of[place]]
    rows = split.rows(self._place_of[place])
    for number in range(1, len(rows)):
      if rows[number].tobytes() != rows[0].tobytes():
        raise DamagedError(
          f'must be stored {len(rows)} times in a row, but rows '
          f'{split.firsts[self._place_of[place]]} and '
          f'{split.firsts[self._place_of[place]] + number} differ; check that '
          'the list of ids belongs to the array'
        )
    return StoredRegions(rows[0], None)


def _lines(path: Path) -> Iterator[str]:
  """Yields the lines of a text without blanks around them."""
  number = 0
  try:
    with open(path, encoding='utf-8') as file:
      for number, line in enumerate(file, 1):
        text = line.strip()
        if not text.isprintable():
          raise errors.UserError(
            f'{path}, line {number} must be text, got {shown(text)}; copy or '
            'download it again'
          )
        if text:
          yield text
  except UnicodeDecodeError as error:
    raise errors.UserError(
      f'{path} must be text in UTF-8, got other bytes after line {number}; '
      'copy or download it again'
    ) from error


def _count_lines(path: Path) -> int:
  """Returns the number of lines, without blank ones at the end."""
  with open(path, 'rb') as file:
    return len(file.read().rstrip().splitlines())
