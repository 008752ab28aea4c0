"""Region features and boxes of an image: checks and padding. No tokenizing."""

import numpy as np
from jaxtyping import Bool, Float, Float32

from tagsdc_jax.data import boxes as boxes_lib
from tagsdc_jax.data.dataset import Regions
from tagsdc_jax.errors import UserError

_DTYPES = (np.dtype(np.float16), np.dtype(np.float32))


def make_boxes7(
  boxes6: Float[np.ndarray, 'regions 6'],
) -> Float32[np.ndarray, 'regions 7']:
  """Returns boxes with their area as a seventh value.

  Args:
    boxes6: x1, y1, x2, y2, w, h, divided by width or height.
  Returns:
    Boxes; the area w * h is computed in float32 from the stored values, even if
    these are float16, as in the reference.
  """
  boxes = np.asarray(boxes6, np.float32)
  return np.concatenate([boxes, boxes[:, 4:5] * boxes[:, 5:6]], axis=1)


def pad_regions(
  regions: Regions, max_regions: int
) -> tuple[
  Float[np.ndarray, 'R F'], Float32[np.ndarray, 'R 7'], Bool[np.ndarray, 'R']
]:
  """Returns regions padded with zeros to a fixed number.

  Returns:
    Features of the same dtype, boxes, and a mask that is True where a region
    is real; R = max_regions.
  Raises:
    UserError: if there are more regions than max_regions.
  """
  num_regions, feature_size = regions.features.shape
  if num_regions > max_regions:
    raise UserError(
      f'an image must have at most max_regions = {max_regions} regions, got '
      f'{num_regions}; raise max_regions'
    )
  features = np.zeros((max_regions, feature_size), regions.features.dtype)
  features[:num_regions] = regions.features
  boxes = np.zeros((max_regions, 7), np.float32)
  boxes[:num_regions] = regions.boxes
  return features, boxes, np.arange(max_regions) < num_regions


def check_regions(
  regions: Regions,
  name: str,
  feature_size: int | None = None,
  feature_dtype: np.dtype | None = None,
) -> None:
  """Checks shapes, dtypes and values of one image's regions.

  Args:
    name: what to call the image in messages.
    feature_size: expected F; None accepts any.
    feature_dtype: expected dtype; None accepts float16 and float32.
  Raises:
    UserError: if a shape or dtype is wrong, there is no region, a value is
      NaN or infinite, or boxes follow another convention.
  """
  features, boxes = regions.features, regions.boxes
  size = 'F' if feature_size is None else feature_size
  if features.ndim != 2 or feature_size not in (None, features.shape[1]):
    raise UserError(
      f'{name}: features must have shape [regions, {size}], got '
      f'{list(features.shape)}; extract all images with the same detector'
    )
  if boxes.ndim != 2 or boxes.shape[1] != 7:
    raise UserError(
      f'{name}: boxes must have shape [regions, 7], got {list(boxes.shape)}; '
      'extract the image again'
    )
  if len(features) != len(boxes):
    raise UserError(
      f'{name}: features and boxes must have the same number of rows, got '
      f'{len(features)} and {len(boxes)}; extract the image again'
    )
  if len(features) == 0:
    raise UserError(
      f'{name}: expected at least 1 region, got 0; extract the image again '
      'or leave it out'
    )
  dtypes = _DTYPES if feature_dtype is None else (feature_dtype,)
  if features.dtype not in dtypes:
    raise UserError(
      f'{name}: features must be {" or ".join(map(str, dtypes))}, got '
      f'{features.dtype}; write all images with the same dtype'
    )
  for what, values in (('features', features), ('boxes', boxes)):
    is_finite = np.isfinite(values)
    if not is_finite.all():
      row, column = np.argwhere(~is_finite)[0]
      raise UserError(
        f'{name}: {what} must be finite, got {values[row, column]} in region '
        f'{row}, column {column}; extract the image again'
      )
  fault = boxes_lib.fault_of(boxes)
  if fault is not None:
    raise UserError(f'{name}: {fault}')
