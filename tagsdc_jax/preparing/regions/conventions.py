"""Finds out how a store writes boxes, from a sample of its pictures.

All formats are named after their columns, but not all files keep to them. The
convention is found once per store, is printed, and holds for all pictures.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import boxes as boxes_lib
from tagsdc_jax.preparing.regions.store import (
  RegionStore,
  StoredRegions,
  Unreadable,
)

# Pictures looked at; the first of the store, so that every run finds the same.
SAMPLE = 200
_BATCH = 20
# The largest coordinate of divided boxes, which may overshoot a little.
_LARGEST_DIVIDED = 1.5
# Shares of the sample: fewer may be accidents, more are not.
_FEW, _MANY = 0.1, 1 / 3
# Another order of the numbers is that of the file if nearly all boxes fit it,
# and more than these do not fit as corners: of boxes in the other order, a
# quarter looks turned around.
_FITTING, _UNFITTING = 0.01, 0.03
# How far a box may reach beyond its picture, in shares of a side, before width
# and height, or the order of its numbers, are doubted.
_SLACK, _BEYOND = 0.02, 0.1
# Kinds whose boxes are what the data set stores. They must stay the same bits.
_AS_STORED = ('UNITER LMDB', 'UNITER npz')

CORNERS, CORNER_SIZE, CENTER_SIZE = 'x1 y1 x2 y2', 'x y w h', 'cx cy w h'
Sizes = Mapping[str, tuple[int, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Convention:
  """How a store writes boxes.

  Attributes:
    kind: of the store.
    columns: 0 (no boxes), 4, or 6.
    order: of the first four numbers: one of the names above.
    is_divided: whether they are divided by the picture's width or height.
    has_sizes: whether the file says how large the pictures are.
    is_exchanged: whether the file has width and height in each other's place.
    as_stored: boxes of six numbers are used bit for bit.
    feature_size: numbers per region.
    num_sampled: pictures that this was found from.
  """

  kind: str
  columns: int
  order: str
  is_divided: bool
  has_sizes: bool
  is_exchanged: bool
  as_stored: bool
  feature_size: int
  num_sampled: int

  def __str__(self) -> str:
    """Returns one line to print."""
    start = f'{self.kind}: {self.feature_size} numbers per region'
    if not self.columns:
      return (
        f'{start}, no boxes: every region gets the whole picture as its box, '
        'so the model cannot tell where things are (left, right, larger)'
      )
    how = 'divided by the picture' if self.is_divided else 'in pixels'
    notes = [f'{start}, boxes {self.order} {how}']
    if self.order != CORNERS:
      notes.append('which is not what the format says: they are converted')
    if not self.is_divided:
      notes.append(
        'picture sizes from the '
        + ('file' if self.has_sizes else 'captions')
        + (
          ", where width and height are in each other's place: put right"
          if self.is_exchanged
          else ''
        )
      )
    if self.as_stored:
      notes.append('used as they are')
    return f'{", ".join(notes)} (found from {self.num_sampled:,} pictures)'


def find(
  store: RegionStore, sizes: Sizes | None = None, num_sampled: int = SAMPLE
) -> Convention:
  """Returns how a store writes boxes.

  Args:
    store: region features.
    sizes: name in the store -> width and height in pixels, e.g. from captions,
      for stores that have none. Pictures may be missing, or have zeros.
    num_sampled: number of pictures that are read, from the first.
  Raises:
    UserError: if no picture of the sample can be read, boxes follow another
      convention, or boxes are in pixels and there is no size to divide by.
  """
  sample = list(_sampled(store, num_sampled))
  columns = {_columns(regions) for _, regions in sample}
  if len(columns) > 1:
    raise errors.UserError(
      f'{store.path} must have boxes of 4 or of 6 numbers, got both; extract '
      'all pictures with the same program'
    )
  stored = [(name, regions) for name, regions in sample if regions.width]
  convention = Convention(
    kind=store.kind,
    columns=columns.pop(),
    order=CORNERS,
    is_divided=True,
    has_sizes=len(stored) * 2 > len(sample),
    is_exchanged=False,
    as_stored=store.kind in _AS_STORED,
    feature_size=sample[0][1].features.shape[1],
    num_sampled=len(sample),
  )
  if not convention.columns:
    return convention
  largest = max(float(r.boxes[:, :4].max()) for _, r in sample)  # type: ignore[index]
  if largest > _LARGEST_DIVIDED:
    convention = dataclasses.replace(convention, is_divided=False)
    convention = _with_sizes(store, convention, sample, sizes or {})
  return _with_order(store, convention, sample, sizes or {})


def divided(
  regions: StoredRegions, convention: Convention, size: tuple[int, int]
) -> np.ndarray:
  """Returns the first four numbers of the boxes, divided, in float64.

  Args:
    size: width and height, not zero; not used if they are divided already.
  """
  boxes = np.asarray(regions.boxes, np.float64)[:, :4]
  return boxes if convention.is_divided else boxes / np.array([size * 2])


def corners_of(four: np.ndarray, order: str) -> np.ndarray:
  """Returns x1 y1 x2 y2 [regions, 4] of boxes in an order above."""
  first, second = four[:, :2], four[:, 2:]
  if order == CORNER_SIZE:
    return np.concatenate([first, first + second], axis=1)
  if order == CENTER_SIZE:
    return np.concatenate([first - second / 2, first + second / 2], axis=1)
  return four


def size_of(
  regions: StoredRegions, convention: Convention, other: tuple[int, int]
) -> tuple[int, int]:
  """Returns a picture's width and height; `other` if the file has none."""
  width, height = regions.width, regions.height
  if not (width and height):
    return other
  return (height, width) if convention.is_exchanged else (width, height)


def _sampled(
  store: RegionStore, number: int
) -> Iterable[tuple[str, StoredRegions]]:
  """Yields the pictures of the sample, without their features."""
  names = list(itertools.islice(store.names, number))
  first, found = '', False
  for start in range(0, len(names), _BATCH):
    part = names[start : start + _BATCH]
    for name, regions in zip(part, store.read(part)):
      if isinstance(regions, Unreadable):
        first = first or regions.reason
        continue
      found = True
      # Copies, because views would keep all features, 60 MB.
      yield (
        name,
        dataclasses.replace(
          regions,
          features=regions.features[:1].copy(),
          boxes=None if regions.boxes is None else regions.boxes.copy(),
        ),
      )
  if not found:
    raise errors.UserError(
      f'{store.path}: none of the first {len(names)} pictures can be read; the '
      f'first: {first or "there is none"}'
    )


def _columns(regions: StoredRegions) -> int:
  return 0 if regions.boxes is None else regions.boxes.shape[1]


def _with_sizes(
  store: RegionStore,
  convention: Convention,
  sample: list[tuple[str, StoredRegions]],
  sizes: Sizes,
) -> Convention:
  """Returns the convention of boxes in pixels, with sizes put right.

  Raises:
    UserError: if sizes are missing, or are those of other pictures.
  """
  as_is, exchanged, known, confirmed = 0, 0, 0, 0
  for name, regions in sample:
    assert regions.boxes is not None
    width, height = size_of(regions, convention, sizes.get(name, (0, 0)))
    if not (width and height):
      continue
    known += 1
    reach = regions.boxes[:, :4].reshape(-1, 2).max(axis=0)
    fits = _fits(reach, width, height)
    fits_exchanged = _fits(reach, height, width)
    as_is += fits and not fits_exchanged
    exchanged += fits_exchanged and not fits
    confirmed += width != height and sizes.get(name) == (width, height)
  if not known:
    raise errors.UserError(
      f'{store.path} has boxes in pixels, and the widths and heights of its '
      'pictures are missing; give captions in JSON with width and height '
      '(COCO), or the folder of the pictures'
    )
  # In a file that is right, a box that reaches out here and there may fit the
  # exchanged sides, but most pictures have boxes that only fit as they are.
  if not convention.has_sizes or exchanged <= max(as_is, _MANY * known):
    return convention
  if as_is > _FEW * known:
    raise errors.UserError(
      f'{store.path}: width and height must be in one order, but boxes fit '
      f'as they are in {as_is} pictures, and exchanged in {exchanged} of '
      f'{known}; extract the pictures again'
    )
  if confirmed > known / 2:
    raise errors.UserError(
      f'{store.path}: boxes must be x1 y1 x2 y2, but look like y1 x1 y2 x2 in '
      f'{exchanged} of {known} pictures, whose widths and heights are those '
      'of the captions; convert them'
    )
  return dataclasses.replace(convention, is_exchanged=True)


def _fits(reach: np.ndarray, width: int, height: int) -> bool:
  sides = np.array([width, height])
  return bool((reach <= sides + np.maximum(1, _SLACK * sides)).all())


def _with_order(
  store: RegionStore,
  convention: Convention,
  sample: list[tuple[str, StoredRegions]],
  sizes: Sizes,
) -> Convention:
  """Returns the convention with the order of the four numbers.

  Raises:
    UserError: if many boxes are no corners, and nothing else fits them all.
  """
  wrong: dict[str, int] = dict.fromkeys((CORNERS, CORNER_SIZE, CENTER_SIZE), 0)
  first, total = '', 0
  for name, regions in sample:
    size = size_of(regions, convention, sizes.get(name, (0, 0)))
    if not (convention.is_divided or all(size)):
      continue
    six = _six(regions, convention, size)
    total += len(six)
    for order in wrong:
      wrong[order] += int(_is_wrong(six, order).sum())
    if wrong[CORNERS] and not first:
      first = _first_wrong(name, regions, six, convention, size)
  best = min(wrong, key=lambda order: wrong[order])
  if wrong[CORNERS] > _UNFITTING * total and wrong[best] <= _FITTING * total:
    return dataclasses.replace(convention, order=best, as_stored=False)
  if wrong[CORNERS] <= _MANY * total:
    return convention
  what = 'divided by its size' if convention.is_divided else 'in pixels'
  raise errors.UserError(
    f'{store.path}: boxes must be corners x1 y1 x2 y2 within the picture, '
    f'{what}, but {wrong[CORNERS]} of {total} are not; the first: {first}'
  )


def _is_wrong(six: np.ndarray, order: str) -> np.ndarray:
  """Returns which boxes cannot have been written in an order, bool [regions].

  Args:
    six: four divided numbers and sides, which only go with corners.
  """
  corners = corners_of(six[:, :4], order)
  slack = _BEYOND if order == CORNERS else _SLACK
  across = corners[:, 2:] - corners[:, :2]
  is_wrong = (across < -_SLACK) | (corners[:, :2] < -slack)
  is_wrong |= corners[:, 2:] > 1 + slack
  if order == CORNERS:
    is_wrong |= np.abs(across - six[:, 4:]) > _SLACK
  return is_wrong.any(axis=1)


def _first_wrong(
  name: str,
  regions: StoredRegions,
  six: np.ndarray,
  convention: Convention,
  size: tuple[int, int],
) -> str:
  """Returns the first wrong box of a picture, and what it may be."""
  row = int(np.argmax(_is_wrong(six, CORNERS)))
  assert regions.boxes is not None
  shown = ' '.join(f'{x:.4g}' for x in regions.boxes[row])
  what = f'{shown} in region {row} of picture {name}'
  if not convention.is_divided:
    what += f', {size[0]} x {size[1]} pixels'
  looks = ' or '.join(boxes_lib.conventions_of(six))
  return f'{what}; ' + (
    f'its boxes look like {looks}: convert them'
    if looks
    else 'check the sizes, or extract the pictures again'
  )


def _six(
  regions: StoredRegions, convention: Convention, size: tuple[int, int]
) -> np.ndarray:
  """Returns float64 [regions, 6]: divided boxes with their sides."""
  four = divided(regions, convention, size)
  stored = np.asarray(regions.boxes, np.float64)[:, 4:]
  has_sides = convention.columns == 6 and convention.is_divided
  sides = stored if has_sides else four[:, 2:] - four[:, :2]
  return np.concatenate([four, sides], axis=1)
