"""Checks that an image's boxes are consistent and recognizes other conventions.

A box is x1 y1 x2 y2 w h, divided by the image's width or height. A network
silently accepts any other convention, and its scores change.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

# Rounding to float16 moves w - (x2 - x1) by up to 2 ** -11. Some detectors
# include the last pixel in a side: 2 ** -8 of a small picture.
_ROUNDING = 2.0**-8
# How far a box may extend beyond its image; some detectors overshoot by a few
# hundredths.
_OVER = 0.1
# Boxes in pixels or percent are far larger.
_PIXELS = 2.0
_CLIP = 'clip them, or divide x by the width and y by the height'


def fault_of(boxes: Float[np.ndarray, 'regions numbers']) -> str | None:
  """Returns a description of what is wrong with an image's boxes, or None.

  A side of 0 is valid: thin and clipped boxes have one.

  Args:
    boxes: at least one, of at least six numbers each, finite.
  """
  corners, sides, six = boxes[:, :4], boxes[:, 4:6], boxes[:, :6]
  across = corners[:, 2:] - corners[:, :2]
  is_odd = np.abs(across - sides) > _ROUNDING
  if not (
    is_odd.any()
    or across.min() < -_ROUNDING
    or corners.min() < -_OVER
    or corners.max() > 1 + _OVER
    or sides.max(axis=1).min() <= 0
  ):
    return None  # The usual case, so only the checks above have to be fast.

  def first(is_wrong: Any) -> str:
    row = int(np.argmax(is_wrong.any(axis=1)))
    return f'{" ".join(f"{x:.4g}" for x in six[row])} in region {row}'

  if (is_wrong := np.abs(six) > _PIXELS).any():
    return (
      "boxes must be divided by the image's width or height, got "
      f'{first(is_wrong)}; divide them'
    )
  is_wrong = ~six.any(axis=1, keepdims=True)
  if is_wrong.any():
    return f'boxes must have a size, got {first(is_wrong)}; ' + (
      'use the whole image, 0 0 1 1 1 1, for features without boxes'
      if is_wrong.all()
      else 'remove the rows that are not regions'
    )
  is_over = (corners < -_OVER) | (corners > 1 + _OVER)
  is_wrong = is_odd | (across < -_ROUNDING)
  looks = ' or '.join(conventions_of(six))
  like = f'they look like {looks}: convert them' if looks else None
  if is_wrong.any():
    return (
      'boxes must be x1 y1 x2 y2 w h with w = x2 - x1 and h = y2 - y1, '
      f'got {first(is_wrong)}; {like or "extract the image again"}'
    )
  if is_over.any():
    return (
      'boxes must lie within their image, from 0 to 1, got '
      f'{first(is_over)}; {like or _CLIP}'
    )
  return None


def conventions_of(boxes: np.ndarray) -> Iterator[str]:
  """Yields the conventions that fit all boxes of an image.

  Args:
    boxes: [regions, 6], of any convention.
  """
  a, b, c, d, w, h = boxes.T

  def same(*pairs: tuple[np.ndarray, np.ndarray]) -> bool:
    return all(np.abs(x - y).max() <= _ROUNDING for x, y in pairs)

  def inside(*places: np.ndarray) -> bool:
    return all(
      x.min() >= -_ROUNDING and x.max() <= 1 + _ROUNDING for x in places
    )

  agrees = same((c - a, w), (d - b, h))
  if same((a - c, np.abs(w)), (b - d, np.abs(h))):
    yield 'x2 y2 x1 y1, corners swapped'
  if same((c - a, h), (d - b, w)) and not agrees:
    yield 'y1 x1 y2 x2 w h, or x1 y1 x2 y2 h w'
  if same((b - a, w), (d - c, h)):
    yield 'x1 x2 y1 y2'
  if not (w.any() or h.any()):
    yield 'corners with w and h not filled in'
  # Sides in place of the second corner; w and h equal or derived from them.
  if same((c, w), (d, h)) or agrees:
    if inside(a, b, c, d, a + c, b + d):
      yield 'x y w h, a corner and the size'
    if inside(c, d, a - c / 2, b - d / 2, a + c / 2, b + d / 2):
      yield 'cx cy w h, the center and the size'
  if agrees and inside(w, h, a - w / 2, b - h / 2, a + w / 2, b + h / 2):
    yield 'cx cy cx+w cy+h, the center in place of the first corner'
  if (
    agrees
    and boxes[:, :4].min() < -0.5
    and inside(*((x + 1) / 2 for x in (a, b, c, d)))
  ):
    yield 'corners from -1 to 1'
