"""Opens a prepared data set: captions in memory, regions on demand."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import regions as regions_lib
from tagsdc_jax.data.dataset import (
  Caption,
  Regions,
  RetrievalDataset,
  Vocabulary,
  group_captions,
)
from tagsdc_jax.errors import UserError, named
from tagsdc_jax.runtime.progress import progress_bar

_METADATA = 'metadata.json'
_AGAIN = 'prepare it again in a new folder'
# What reading a damaged record raises; some come back empty.
_DAMAGED = (RuntimeError, OSError, ValueError, IndexError)


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
  """A picture of a prepared data set, without its regions.

  Attributes:
    image_id: unique within the data set.
    path: of the picture, relative to the folder of photos; empty if unknown.
    width, height: in pixels; 0 if unknown.
    num_regions: stored regions.
    captions: in the order of the split.
  """

  image_id: str
  path: str
  width: int
  height: int
  num_regions: int
  captions: Sequence[Caption]


def is_prepared(root: str | os.PathLike) -> bool:
  """Returns whether a folder holds a prepared data set, or part of one."""
  folder = Path(root)
  return (folder / _METADATA).is_file() or (folder / '.parts').is_dir()


def load_prepared(
  root: str | os.PathLike, split: str, vocabulary: str | None = None
) -> RetrievalDataset:
  """Returns one split: all captions, regions read on demand.

  Args:
    root: folder that `tagsdc prepare` wrote.
    split: "train", "validation" or "test".
    vocabulary: vocab.txt file or hub name for the words; None: those that the
      data set was prepared with, if any.
  Raises:
    UserError: if the folder is not a finished data set, lacks the split, or is
      damaged; if the vocabulary is another one.
  """
  folder = Path(root)
  store = _Store(folder, split)
  found: list[tuple[int, Caption]] = []
  image_ids, num_regions = [], []
  with progress_bar(
    len(store.captions), f'reading captions of {store.name}', 'pictures'
  ) as bar:
    for image in range(len(store.captions)):
      picture, numbers = store.read_captions(image)
      image_ids.append(picture.image_id)
      num_regions.append(picture.num_regions)
      found += zip(numbers, picture.captions, strict=True)
      bar.update(1)
  found.sort(key=lambda pair: pair[0])
  captions = [caption for _, caption in found]
  store.image_ids = image_ids
  store.read(0)  # Fail early.
  real = os.path.realpath(folder)
  return RetrievalDataset(
    name=store.name,
    vocabulary=_vocabulary(folder, store.metadata, vocabulary),
    captions=captions,
    image_ids=image_ids,
    captions_of_image=group_captions(captions, len(image_ids)),
    read_regions=store.read,
    num_regions=np.array(num_regions, np.int32),
    feature_size=store.feature_size,
    feature_dtype=np.dtype(np.float16),
    image_keys=[(real, image_id) for image_id in image_ids],
  )


def read_metadata(root: str | os.PathLike) -> dict[str, Any]:
  """Returns the metadata of a prepared data set.

  Raises:
    UserError: if the folder is not a finished one.
  """
  return dict(_open(Path(root)).info.metadata)


def read_vocabulary(root: str | os.PathLike) -> Vocabulary:
  """Returns the vocabulary that a data set was prepared with.

  Raises:
    UserError: if the folder is not a finished data set.
  """
  return _vocabulary(Path(root), read_metadata(root), None)


def split_sizes(root: str | os.PathLike) -> dict[str, int]:
  """Returns the number of pictures of each split.

  Raises:
    UserError: if the folder is not a finished data set.
  """
  splits = _open(Path(root)).info.splits
  return {name: split.num_examples for name, split in splits.items()}


def iterate_pictures(root: str | os.PathLike, split: str) -> Iterator[Picture]:
  """Yields the pictures of a split in order, one in memory at a time.

  Args:
    root: folder that `tagsdc prepare` wrote.
    split: one of `split_sizes`, with at least one picture.
  Raises:
    UserError: if the data set is damaged.
  """
  store = _Store(Path(root), split)
  for image in range(len(store.captions)):
    yield store.read_captions(image)[0]


def read_sizes(root: str | os.PathLike, split: str) -> np.ndarray:
  """Returns width and height of the pictures of a split, int [pictures, 2].

  0 where they are unknown.

  Args and errors: see `iterate_pictures`.
  """
  return np.array(
    [(one.width, one.height) for one in iterate_pictures(root, split)]
  ).reshape(-1, 2)


def read_picture(root: str | os.PathLike, split: str, image: int) -> Picture:
  """Returns one picture of a split.

  Args and errors: see `iterate_pictures`.
  """
  return _Store(Path(root), split).read_captions(image)[0]


def read_boxes(
  root: str | os.PathLike, split: str, image_ids: Mapping[int, str]
) -> dict[int, np.ndarray]:
  """Returns the boxes of a few pictures, float32 [regions, 7] each.

  Args:
    root, split: see `iterate_pictures`.
    image_ids: number of the picture in the split -> its id.
  Raises:
    UserError: if the data set is damaged.
  """
  store = _Store(Path(root), split)
  store.image_ids = image_ids
  return {image: store.read(image).boxes for image in image_ids}


class _Store:
  """The records of one split. Can be pickled."""

  def __init__(self, folder: Path, split: str) -> None:
    # Imported here: tensorflow_datasets takes a second to import.
    from tagsdc_jax.data.prepared import schema

    self.schema = schema
    self.name = f'{folder.name or folder}/{split}'
    # By number.
    self.image_ids: Sequence[str] | Mapping[int, str] = ()
    self._folder, self._split = folder, split
    self._open()

  def _open(self) -> None:
    builder = _open(self._folder)
    self.metadata = dict(builder.info.metadata)
    if self._split not in builder.info.splits:
      raise UserError(
        f'{self._folder} has no split {self._split}, only '
        f'{", ".join(builder.info.splits)}; prepare it with captions of all '
        'three splits'
      )
    self.feature_size = builder.info.features['features'].shape[1]
    with named(self._folder, 'read'):
      self._records = _raw(builder, self._split)
      self.captions = _raw(
        _open(self._folder / self.schema.CAPTIONS_FOLDER), self._split
      )
    if len(self._records) != len(self.captions):
      raise self._damaged(
        f'{len(self._records)} pictures and captions of {len(self.captions)}'
      )

  def __getstate__(self) -> dict[str, Any]:
    return {
      name: value
      for name, value in self.__dict__.items()
      if name not in ('_records', 'captions', 'schema')
    }

  def __setstate__(self, state: dict[str, Any]) -> None:
    from tagsdc_jax.data.prepared import schema

    self.__dict__ |= state | {'schema': schema}
    self._open()

  def read_captions(self, image: int) -> tuple[Picture, list[int]]:
    """Returns a picture, and the number of each caption in the split."""
    try:
      fields = self.schema.Fields(self.captions[image])
      pairs = self.schema.read_captions(fields, image)
      picture = Picture(
        image_id=fields.text('image_id'),
        path=fields.text('path'),
        width=fields.ints('width')[0],
        height=fields.ints('height')[0],
        num_regions=fields.ints('num_regions')[0],
        captions=[caption for _, caption in pairs],
      )
      return picture, [number for number, _ in pairs]
    except _DAMAGED as error:
      raise self._damaged(f'captions of picture {image}: {error}') from error

  def read(self, image: int) -> Regions:
    """Returns the regions of a picture. Safe to call from threads."""
    name = f'image {self.image_ids[image]} of {self._folder}'
    try:
      fields = self.schema.Fields(self._records[image])
      stored = fields.text('image_id')
      regions = Regions(
        fields.rows('features', np.float16, self.feature_size),
        regions_lib.make_boxes7(fields.rows('boxes', np.float32, 6)),
      )
    except _DAMAGED as error:
      raise self._damaged(f'{name}: {error}') from error
    if stored != self.image_ids[image]:
      raise self._damaged(f'{name}: it is {stored}')
    # Values were checked when they were written, and files have checksums.
    return regions

  def _damaged(self, reason: str) -> UserError:
    reason = reason.split(';')[0]
    return UserError(f'{self._folder} is damaged ({reason}); {_AGAIN}')


def _open(folder: Path) -> Any:
  """Returns the TFDS builder of a folder."""
  import tensorflow_datasets as tfds

  with named(folder, 'read'):
    if not (folder / 'dataset_info.json').is_file():
      raise UserError(
        f'{folder} is no prepared data set'
        + (
          ', or tagsdc prepare was stopped; run it again to continue'
          if is_prepared(folder)
          else '; make one with tagsdc prepare, or check data.root'
        )
      )
    try:
      builder = tfds.builder_from_directory(folder)
      metadata = builder.info.metadata  # Read now, as it may be damaged too.
    except Exception as error:  # TFDS raises what its parsers raise.
      raise UserError(
        f'{folder}: the description of the data set is damaged '
        f'({str(error).splitlines()[0][:80]}); {_AGAIN}'
      ) from error
  from tagsdc_jax.data.prepared import schema

  info = builder.info
  if info.name != schema.NAME or 'vocabulary' not in (metadata or {}):
    raise UserError(
      f'{folder} is the TFDS data set {info.name}, not one that tagsdc prepare '
      'wrote; check data.root'
    )
  if str(info.version) != schema.VERSION:
    raise UserError(
      f'{folder} has records of version {info.version}, expected '
      f'{schema.VERSION}; {_AGAIN}'
    )
  return builder


def _raw(builder: Any, split: str) -> Any:
  import tensorflow_datasets as tfds

  try:
    source = builder.as_data_source(
      split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    # The first access opens the files: a missing or truncated one fails here.
    source[len(source) - 1]
  except _DAMAGED as error:
    raise UserError(
      f'{builder.data_dir} is damaged ({str(error).split(";")[0]}); {_AGAIN}'
    ) from error
  return source


def _vocabulary(
  folder: Path, metadata: dict[str, Any], name: str | None
) -> Vocabulary:
  from tagsdc_jax.data.prepared import schema

  try:
    fields = dict(metadata['vocabulary'])
    low, high = fields.pop('random_range')
    stored = Vocabulary(random_range=(low, high), **fields)
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(
      f'{folder}: the vocabulary in the description of the data set is damaged '
      f'({error}); {_AGAIN}'
    ) from error
  path = folder / schema.VOCABULARY_FILE
  if name is None and not path.is_file():
    return stored
  found = captions_lib.load_vocabulary(name or path, stored.random_range)
  for key in ('size', 'pad', 'unk', 'cls', 'sep', 'mask'):
    if getattr(found, key) != getattr(stored, key):
      raise UserError(
        f'vocabulary {name or path}: {key} must be {getattr(stored, key)} as '
        f'in {folder}, got {getattr(found, key)}; pass the vocabulary that '
        'the data set was prepared with, or none'
      )
  return dataclasses.replace(stored, words=found.words)
