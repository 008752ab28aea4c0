"""Pictures that foil files are about, from the splits of a data set."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tagsdc_jax import errors, settings
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.foil_files import crops, pictures, records

# Width and height of each picture of a split, by its name; 0 if unknown.
Sizes = Callable[[str], np.ndarray]
# Corners of a box, as fractions of the picture.
_Corners = tuple[float, float, float, float]
# Why an item has no picture to be scored with.
NO_PICTURE, NO_SIZE, NO_AREA = 'no_picture', 'no_size', 'no_area'


def open_splits(
  config: settings.Settings, chosen: Sequence[str] | None
) -> tuple[dict[str, dataset.RetrievalDataset], list[str]]:
  """Returns splits by name, and lines on those that cannot be opened.

  Args:
    config: names the data.
    chosen: names of splits, all of which must be there; None: all that are.
  Raises:
    UserError: if a chosen split, or every split, cannot be opened.
  """
  opened: dict[str, dataset.RetrievalDataset] = {}
  missing: list[errors.UserError] = []
  for split in chosen or ('test', 'validation', 'train'):
    try:
      opened[split] = opening.open_split(config.data, split, config.extensions)
    except errors.UserError as error:
      if chosen:
        raise
      missing.append(error)
  if not opened:
    raise missing[0]
  first = next(iter(opened.values()))
  for other in opened.values():
    dataset.check_same_vocabulary(first, other)
  return opened, [f'not looked through: {error}' for error in missing]


def bare(data: dataset.RetrievalDataset) -> dataset.RetrievalDataset:
  """Returns a split without its captions."""
  return dataclasses.replace(
    data, captions=(), captions_of_image=[()] * len(data.image_ids)
  )


def sizes_of(config: settings.Data) -> Sizes:
  """Returns a function from a split to the sizes of its pictures."""
  if opening.resolved_source(config) != 'prepared':
    return lambda split: np.zeros((0, 2), int)
  return functools.cache(lambda split: prepared.read_sizes(config.root, split))


class Shelf:
  """Collects the pictures, and parts of pictures, that files are about."""

  def __init__(
    self,
    splits: Mapping[str, dataset.RetrievalDataset],
    sizes: Sizes,
    train: dataset.Contents | None,
  ) -> None:
    """Uses splits.

    Args:
      splits: name -> split, at least one.
      sizes: for boxes in pixels.
      train: what the network was trained on; None if that is unknown.
    """
    self._splits = dict(splits)
    self._sizes = sizes
    self._index = pictures.Index(
      {name: data.image_ids for name, data in splits.items()}
    )
    self._numbers: dict[tuple[pictures.Place, _Corners | None], int] = {}
    self._train = train
    if train is not None:
      self._train_index = pictures.Index(
        {'train': sorted({name for _, name in train.image_keys})}
      )
      stores = {store for store, _ in train.image_keys}
      self._has_keys = any(
        store in stores
        for data in splits.values()
        for store, _ in data.image_keys
      )

  def find(
    self, names: Sequence[str], box: records.Box | None = None
  ) -> int | str:
    """Returns the number of a picture in `data`, or why there is none.

    Args:
      names: what it may be called.
      box: the part of it that is meant; None: all.
    """
    place = self._index.find(names)
    if place is None:
      return NO_PICTURE
    corners = None
    if box is not None:
      width, height = box.picture_width, box.picture_height
      if not (width and height):
        sizes = self._sizes(place.split)
        width, height = sizes[place.number] if len(sizes) else (0, 0)
      if not (width and height):
        return NO_SIZE
      corners = _corners(box, float(width), float(height))
      if corners[0] >= corners[2] or corners[1] >= corners[3]:
        return NO_AREA
    return self._numbers.setdefault((place, corners), len(self._numbers))

  def places(self) -> list[pictures.Place]:
    """Returns split and number of every picture in `data`."""
    return [place for place, _ in self._numbers]

  def corners(self) -> list[_Corners | None]:
    """Returns the part of every picture in `data` that is meant."""
    return [corners for _, corners in self._numbers]

  def split(self, name: str) -> dataset.RetrievalDataset:
    """Returns a split by its name."""
    return self._splits[name]

  def image_id(self, place: pictures.Place) -> str:
    """Returns the id of a picture."""
    return self._splits[place.split].image_ids[place.number]

  def is_unseen(self, place: pictures.Place) -> bool | None:
    """Returns whether a picture is not of training; None if unknown.

    Pictures are compared by store and name; of another data set than that of
    training, by their names.
    """
    if self._train is None:
      return None
    data = self._splits[place.split]
    if data.image_keys[place.number] in self._train.image_keys:
      return False
    return self._has_keys or (
      self._train_index.find((data.image_ids[place.number],)) is None
    )

  @property
  def example(self) -> str:
    """How the data names its first picture."""
    return next(iter(self._splits.values())).image_ids[0]

  @property
  def name(self) -> str:
    """The names of the splits."""
    return ', '.join(data.name for data in self._splits.values())

  @property
  def first(self) -> dataset.RetrievalDataset:
    """Any of the splits."""
    return next(iter(self._splits.values()))

  def data(self) -> dataset.RetrievalDataset:
    """Returns the pictures that were found as a split without captions."""
    found = list(self._numbers)
    first = self.first

    def read(number: int) -> dataset.Regions:
      place, corners = found[number]
      regions = self._splits[place.split].read_regions(place.number)
      return regions if corners is None else crops.crop(regions, corners)

    return dataclasses.replace(
      first,
      name=self.name,
      captions=(),
      captions_of_image=[()] * len(found),
      image_ids=[self.image_id(place) for place, _ in found],
      image_keys=[
        self._splits[place.split].image_keys[place.number] for place, _ in found
      ],
      read_regions=read,
      num_regions=np.array(
        [
          self._splits[place.split].num_regions[place.number]
          for place, _ in found
        ],
        np.int32,
      ),
    )


def _corners(box: records.Box, width: float, height: float) -> _Corners:
  x1, x2 = (min(max(x / width, 0.0), 1.0) for x in (box.x, box.x + box.width))
  y1, y2 = (min(max(y / height, 0.0), 1.0) for y in (box.y, box.y + box.height))
  return x1, y1, x2, y2


def training_contents(
  config: settings.Settings, opened: dataset.RetrievalDataset | None
) -> tuple[dataset.Contents | None, str]:
  """Returns what a network was trained on, or None and why it is unknown.

  Args:
    config: of the training.
    opened: its training split, if it is open already.
  """
  if opened is not None:
    return dataset.contents_of(opened), ''
  try:
    contents = opening.open_contents(config.data, 'train', config.extensions)
  except errors.UserError as error:
    return None, f'it is unknown which pictures were trained on: {error}'
  return contents, ''
