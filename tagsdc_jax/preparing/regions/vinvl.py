"""VinVL's files: features for retrieval and captioning, and predictions."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data.lmdb_files import read_json
from tagsdc_jax.preparing.regions.file_store import (
  DamagedError,
  shown,
  whole_number,
)
from tagsdc_jax.preparing.regions.lines import (
  LineStore,
  count_in,
  numbers_in,
  of_lines,
)
from tagsdc_jax.preparing.regions.store import StoredRegions

# x1/W y1/H x2/W y2/H w/W h/H stand behind the features.
_BOX = 6


class RetrievalStore(LineStore):
  """features.tsv of Oscar's retrieval: id, num_boxes, base64 of float32."""

  kind = 'VinVL retrieval tsv'
  columns = ('id', 'num_boxes', 'features')

  def __init__(self, path: Path) -> None:
    super().__init__(path)
    _check_numbers(self, path.absolute().with_name('imageid2idx.json'))

  def _known_lines(self) -> Iterator[tuple[int, int, bytes]] | None:
    return _of_lineidx(self, self._file)

  def _read(self, name: str) -> StoredRegions:
    _, count, features = self._fields(name, 3)
    return _split(features, count_in(count))


class CaptioningStore(LineStore):
  """Features of Oscar's captioning: id and JSON of num_boxes and features."""

  kind = 'VinVL captioning tsv'
  columns = ('id', 'json')

  def _known_lines(self) -> Iterator[tuple[int, int, bytes]] | None:
    return _of_lineidx(self, self._file)

  def _read(self, name: str) -> StoredRegions:
    content = _json(self._fields(name, 2)[1])
    features = _get(content, 'features')
    count = whole_number(_get(content, 'num_boxes'), 'num_boxes')
    if not count:
      raise DamagedError('num_boxes must be at least 1, got 0')
    return _split(_encoded(features, 'features'), count)


class PredictionsStore(LineStore):
  """predictions.tsv of scene_graph_benchmark, if it has features."""

  kind = 'VinVL predictions tsv'
  columns = ('id', 'json')

  def _known_lines(self) -> Iterator[tuple[int, int, bytes]] | None:
    return _of_lineidx(self, self._file)

  def _read(self, name: str) -> StoredRegions:
    content = _json(self._fields(name, 2)[1])
    sizes = content if isinstance(content, dict) else {}
    objects = content if isinstance(content, list) else _get(content, 'objects')
    if not isinstance(objects, list):
      raise DamagedError(f'objects must be a list, got {shown(objects)}')
    if not objects:
      raise DamagedError('must have at least 1 object, got 0')
    if not isinstance(objects[0], dict) or 'feature' not in objects[0]:
      raise DamagedError(
        f'objects must have a feature, got {shown(sorted(objects[0]))}; '
        'predict again with TEST.OUTPUT_FEATURE True'
        if isinstance(objects[0], dict)
        else f'objects must be dicts, got {shown(objects[0])}'
      )
    rows = [_object(item, number) for number, item in enumerate(objects)]
    features, boxes, confidences, labels = zip(*rows)
    if len({len(x) for x in features}) > 1:
      raise DamagedError(
        'features must be of one length, got '
        f'{sorted({len(x) for x in features})} numbers'
      )
    return StoredRegions(
      np.stack(features),
      np.array(boxes, np.float32),
      None if None in confidences else np.array(confidences, np.float32),
      None if None in labels else np.array(labels, np.int64),
      *(
        whole_number(sizes[key], key) if sizes.get(key) is not None else 0
        for key in ('image_w', 'image_h')
      ),
    )


def _object(
  item: Any, number: int
) -> tuple[np.ndarray, list[float], float | None, int | None]:
  """Returns features, corners, confidence and class number of an object."""
  if not isinstance(item, dict):
    raise DamagedError(f'object {number} must be a dict, got {shown(item)}')
  rect = item.get('rect')
  if not (
    isinstance(rect, list) and len(rect) == 4 and all(map(_is_number, rect))
  ):
    raise DamagedError(
      f'rect of object {number} must be four numbers, got {shown(rect)}'
    )
  what = f'feature of object {number}'
  feature = numbers_in(_encoded(item.get('feature'), what), what, '<f4', 1)[0]
  confidence: Any = item.get('conf')
  label = item.get('class')
  return (
    feature,
    rect,
    float(confidence) if _is_number(confidence) else None,
    # Most files have the word.
    label if type(label) is int and abs(label) < 2**31 else None,
  )


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and abs(value) < 1e30


def _split(field: bytes, count: int) -> StoredRegions:
  numbers = numbers_in(field, 'features', '<f4', count)
  if numbers.shape[1] <= _BOX:
    raise DamagedError(
      'features must have more than 6 numbers per region, the last 6 of them '
      f'the box, got {numbers.shape[1]}'
    )
  return StoredRegions(numbers[:, :-_BOX], numbers[:, -_BOX:])


def _json(field: bytes) -> Any:
  try:
    return json.loads(field)
  except (ValueError, RecursionError) as error:
    raise DamagedError(
      f'the second column must be JSON, got {shown(field, 20)} of '
      f'{len(field)} bytes ({" ".join(str(error).split())[:80]})'
    ) from error


def _get(content: Any, key: str) -> Any:
  if not isinstance(content, dict) or key not in content:
    found = sorted(content) if isinstance(content, dict) else content
    raise DamagedError(f'the second column must have {key}, got {shown(found)}')
  return content[key]


def _encoded(value: Any, what: str) -> bytes:
  if not isinstance(value, str):
    raise DamagedError(f'{what} must be base64, got {shown(value)}')
  return value.encode('utf-8', 'replace')


def _of_lineidx(
  store: LineStore, path: Path
) -> Iterator[tuple[int, int, bytes]] | None:
  """Returns the lines as .lineidx says, or None if it is missing or wrong."""
  index = path.with_suffix('.lineidx')
  if not index.is_file():
    return None
  try:
    begins = np.array([int(x) for x in index.read_bytes().split()], np.int64)
  except (ValueError, OverflowError):
    begins = np.zeros(0, np.int64)
  size = os.stat(path).st_size
  is_right = (
    len(begins) > 0
    and begins[0] == 0
    and bool((np.diff(begins) > 0).all())
    and int(begins[-1]) < size
  )
  if is_right:
    with open(path, 'rb', buffering=0) as file:
      for begin in begins[1:].tolist():
        if os.pread(file.fileno(), 1, begin - 1) != b'\n':
          is_right = False
          break
  if not is_right:
    store.notes += (
      f'{index}: does not fit {path.name}, so it is not used; delete it',
    )
    return None
  store.sources = (*store.sources, str(index))
  return of_lines(path, begins)


def _check_numbers(store: LineStore, path: Path) -> None:
  """Raises UserError if imageid2idx.json names other lines than the file."""
  if not path.is_file():
    return
  for name, number in read_json(path).items():
    row = store.row_of(name)
    if row != number and name not in store.repeated:
      found = 'which has none' if row is None else f'row {row}'
      raise errors.UserError(
        f'{path}: row of picture {name} must be that of {store.path}, '
        f'{found}, got {shown(number)}; delete {path.name} if it belongs to '
        'another file'
      )
  store.sources = (*store.sources, str(path))
