"""Regions of a part of a picture, for files that are about boxes.

The pictures are not cropped and encoded again: the regions that lie mostly in
the box are kept, and their boxes are written relative to it. This is a choice
of ours; published numbers crop the pixels.
"""

import numpy as np

from tagsdc_jax.data import dataset
from tagsdc_jax.data import regions as regions_lib

# A region is kept if at least this share of it lies in the box.
_SHARE = 0.5


def crop(
  regions: dataset.Regions, box: tuple[float, float, float, float]
) -> dataset.Regions:
  """Returns the regions that lie mostly in a box, relative to it.

  At least the one that overlaps most; if none does, the nearest, which is then
  said to fill the box.

  Args:
    regions: of the whole picture.
    box: x1, y1, x2, y2, divided by the picture's width and height, with an
      area.
  """
  low, high = np.array(box[:2]), np.array(box[2:])
  starts, ends = (
    np.asarray(regions.boxes[:, place : place + 2], np.float64)
    for place in (0, 2)
  )
  inside = np.prod(
    np.clip(np.minimum(ends, high) - np.maximum(starts, low), 0, None), axis=1
  )
  areas = np.prod(np.clip(ends - starts, 0, None), axis=1)
  # Thin regions have no area: their center counts.
  centers = (starts + ends) / 2
  is_central = np.all((centers >= low) & (centers <= high), axis=1)
  is_kept = np.where(areas > 0, inside >= _SHARE * areas, is_central)
  if is_kept.any():
    kept = np.flatnonzero(is_kept)
  elif inside.any():
    union = areas + np.prod(high - low) - inside
    kept = np.array([np.argmax(inside / union)])
  else:
    far = np.sum((centers - (low + high) / 2) ** 2, axis=1)
    kept = np.array([np.argmin(far)])
    starts, ends = np.tile(low, (len(far), 1)), np.tile(high, (len(far), 1))
  corners = [
    np.clip((one[kept] - low) / (high - low), 0, 1) for one in (starts, ends)
  ]
  six = np.concatenate([*corners, corners[1] - corners[0]], axis=1)
  return dataset.Regions(
    regions.features[kept], regions_lib.make_boxes7(six.astype(np.float32))
  )
