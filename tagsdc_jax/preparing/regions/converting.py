"""Turns regions as a file has them into what the data set stores."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Int

from tagsdc_jax.data import boxes as boxes_lib
from tagsdc_jax.preparing.regions.conventions import (
  CORNERS,
  Convention,
  corners_of,
  divided,
  size_of,
)
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

_LARGEST = float(np.finfo(np.float16).max)
# Rounding to float32 may move a border by this much.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedRegions:
  """The regions of one picture, as the data set stores them.

  Attributes:
    features: of regions, by falling confidence if there is one.
    boxes: x1 y1 x2 y2 w h, divided by the picture's width or height.
    confidence: the detector's, or None.
    labels: class numbers, or None.
    width, height: of the picture in pixels; 0 if unknown.
  """

  features: Float16[np.ndarray, 'regions F']
  boxes: Float32[np.ndarray, 'regions 6']
  confidence: Float32[np.ndarray, 'regions'] | None
  labels: Int[np.ndarray, 'regions'] | None
  width: int
  height: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tally:
  """What was done to the regions of pictures. Tallies can be added.

  Attributes:
    pictures: that were converted.
    regions: that the data set stores.
    clipped: boxes that reached beyond their picture.
    swapped: boxes whose corners were in each other's place.
    exchanged: pictures whose width and height were in each other's place.
    dropped: regions without an area, left out.
    reordered: pictures whose regions were not sorted by confidence.
    cut: regions beyond the limit, left out.
    overflowed: features beyond float16, set to its largest number.
  """

  pictures: int = 0
  regions: int = 0
  clipped: int = 0
  swapped: int = 0
  exchanged: int = 0
  dropped: int = 0
  reordered: int = 0
  cut: int = 0
  overflowed: int = 0

  def __add__(self, other: 'Tally') -> 'Tally':
    ours, theirs = self.to_json(), other.to_json()
    return Tally(**{key: ours[key] + theirs[key] for key in ours})

  def to_json(self) -> dict[str, int]:
    """Returns the counts by name."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, counts: Mapping[str, int]) -> 'Tally':
    """Returns what `to_json` was called on."""
    return cls(**counts)

  def lines(self) -> list[str]:
    """Returns a line to print for each thing that was changed."""
    texts = {
      'clipped': 'boxes reached beyond their picture and were clipped',
      'swapped': 'boxes had their corners in the wrong order, put right',
      'exchanged': 'pictures had width and height exchanged, put right',
      'dropped': 'regions without an area were left out',
      'reordered': 'pictures had regions not sorted by confidence: sorted',
      'cut': 'regions beyond the limit were left out',
      'overflowed': f'features were beyond float16, set to {_LARGEST:.0f}',
    }
    counts = self.to_json()
    return [
      f'{counts[key]:,} {text}' for key, text in texts.items() if counts[key]
    ]


def convert(
  regions: StoredRegions,
  convention: Convention,
  name: str,
  limit: int,
  size: tuple[int, int] = (0, 0),
) -> tuple[PreparedRegions, Tally] | Unreadable:
  """Returns what the data set stores of a picture, and what was changed.

  Boxes of UNITER's files stay as they are, to the bit. Others are clipped to
  the picture; regions without an area are left out. Regions are sorted by
  confidence and cut at the limit. Without boxes, each is the whole picture.

  Args:
    regions: of one picture, from its store.
    convention: of the store.
    name: of the store and the picture, for messages.
    limit: most regions stored; at least 1.
    size: width and height in pixels if the file has none; 0: unknown.
  """
  tally: dict[str, int] = {'pictures': 1}
  features, confidence = regions.features, regions.confidence
  if not len(features):
    return Unreadable(f'{name}: must have at least 1 region, got 0')
  for what, values in (('features', features), ('boxes', regions.boxes)):
    if values is not None and not np.isfinite(values).all():
      return Unreadable(
        f'{name}: {what} must be finite, got NaN or infinity; extract it again'
      )
  width, height = size_of(regions, convention, size)
  tally['exchanged'] = int(convention.is_exchanged and bool(regions.width))
  made = _boxes(regions, convention, (width, height), name, tally)
  if isinstance(made, Unreadable):
    return made
  boxes, rows = made
  if confidence is not None:
    rows = _sorted(rows, confidence, convention, limit, tally)
  tally['cut'] = max(0, len(rows) - limit)
  rows = rows[:limit]
  tally['regions'] = len(rows)
  prepared = PreparedRegions(
    _to_float16(features[rows], tally),
    boxes[rows],
    None if confidence is None else confidence[rows].astype(np.float32),
    None if regions.labels is None else regions.labels[rows],
    width,
    height,
  )
  fault = boxes_lib.fault_of(prepared.boxes)
  if fault is not None:
    return Unreadable(f'{name}: {fault}')
  return prepared, Tally(**tally)


def _boxes(
  regions: StoredRegions,
  convention: Convention,
  size: tuple[int, int],
  name: str,
  tally: dict[str, int],
) -> tuple[np.ndarray, np.ndarray] | Unreadable:
  """Returns float32 [regions, 6] and the rows that have an area."""
  count = len(regions.features)
  if regions.boxes is None:
    whole = np.array([[0, 0, 1, 1, 1, 1]], np.float32)
    return np.repeat(whole, count, axis=0), np.arange(count)
  columns = regions.boxes.shape[1]
  if columns != convention.columns:
    return Unreadable(
      f'{name}: boxes must have {convention.columns} numbers, as in other '
      f'pictures, got {columns}; extract it again'
    )
  if convention.as_stored:
    return regions.boxes.astype(np.float32), np.arange(count)
  if not (convention.is_divided or all(size)):
    return Unreadable(
      f'{name}: boxes are in pixels, but width and height of the picture are '
      'missing; give them with the captions, or leave the picture out'
    )
  corners = corners_of(divided(regions, convention, size), convention.order)
  is_swapped = (corners[:, 2:] < corners[:, :2]).any(axis=1)
  corners = np.concatenate(
    [
      np.minimum(corners[:, :2], corners[:, 2:]),
      np.maximum(corners[:, :2], corners[:, 2:]),
    ],
    axis=1,
  )
  clipped = np.clip(corners, 0, 1)
  is_clipped = (np.abs(clipped - corners) > _ROUNDING).any(axis=1)
  has_area = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
  tally['swapped'] = int(is_swapped.sum())
  tally['clipped'] = int((is_clipped & has_area).sum())
  tally['dropped'] = int((~has_area).sum())
  if not has_area.any():
    return Unreadable(
      f'{name}: must have at least 1 box with an area within the picture, got '
      f'{" ".join(f"{x:.4g}" for x in regions.boxes[0])}; extract it again'
    )
  four = clipped.astype(np.float32)
  six = np.concatenate([four, four[:, 2:] - four[:, :2]], axis=1)
  if columns == 6 and convention.is_divided and convention.order == CORNERS:
    # As the file has them where nothing was changed.
    as_is = ~is_swapped & (clipped == corners).all(axis=1)
    six[as_is] = regions.boxes[as_is]
  return six, np.flatnonzero(has_area)


def _sorted(
  rows: np.ndarray,
  confidence: np.ndarray,
  convention: Convention,
  limit: int,
  tally: dict[str, int],
) -> np.ndarray:
  """Returns the rows by falling confidence; equal ones keep their order."""
  values = confidence[rows].astype(np.float64)
  if (np.diff(values) <= 0).all():
    return rows
  if convention.as_stored and len(rows) <= limit:
    return rows  # Their order is what training on the same file sees.
  tally['reordered'] = 1
  return rows[np.argsort(-values, kind='stable')]


def _to_float16(values: np.ndarray, tally: dict[str, int]) -> Any:
  if values.dtype == np.float16:
    return values
  is_over = np.abs(values) > _LARGEST
  count = int(is_over.sum())
  if count:
    tally['overflowed'] = count
    values = np.clip(values, -_LARGEST, _LARGEST)
  return values.astype(np.float16)
