"""Pictures of scenes, region proposals, and features read from the pixels."""

import numpy as np
from PIL import Image, ImageDraw

from tagsdc_jax.data.world import scenes

RGB = {
  'red': (225, 45, 45),
  'pink': (240, 140, 190),
  'green': (50, 185, 60),
  'cyan': (60, 200, 220),
  'blue': (60, 95, 250),
  'yellow': (235, 215, 50),
  'purple': (185, 60, 205),
  'white': (240, 240, 240),
}
CROP = 8
SURROUNDINGS = 4
FEATURE_SIZE = (CROP * CROP + SURROUNDINGS * SURROUNDINGS) * 3
MAX_BACKGROUND_BOXES = 3
MAX_REGIONS = scenes.MAX_OBJECTS + MAX_BACKGROUND_BOXES

_SUPERSAMPLING = 4
_COLOR_JITTER = 40
# Darker than every color, so that shape is a linear function of the pixels.
_BACKGROUND = (20, 70)
_PIXEL_NOISE = 7.0
_BOX_JITTER = 0.8
_CROP_MARGIN = 1.12
# Side of the square around a box's center that fits the largest object.
_SURROUNDINGS_SIDE = 40.0
# Mean and standard deviation of the pixels of many crops.
_PIXEL_MEAN = 78.0
_PIXEL_STD = 63.0


def _star() -> tuple[tuple[float, float], ...]:
  angles = -np.pi / 2 + np.arange(10) * np.pi / 5
  radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
  return tuple(
    (float(r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(radii, angles)
  )


# Corners on the canvas [-1, 1] x [-1, 1], y downwards; a circle has none.
_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
  'square': ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),
  'triangle': ((0, -0.95), (1, 0.85), (-1, 0.85)),
  'star': _star(),
  'diamond': ((0, -1), (0.8, 0), (0, 1), (-0.8, 0)),
  'cross': (
    (-0.32, -1),
    (0.32, -1),
    (0.32, -0.32),
    (1, -0.32),
    (1, 0.32),
    (0.32, 0.32),
    (0.32, 1),
    (-0.32, 1),
    (-0.32, 0.32),
    (-1, 0.32),
    (-1, -0.32),
    (-0.32, -0.32),
  ),
}


def render(scene: scenes.Scene, rng: np.random.Generator) -> Image.Image:
  """Returns an RGB picture of the scene, 96 x 96, on a noisy grayish ground."""
  side = scenes.CANVAS * _SUPERSAMPLING
  tone = rng.integers(*_BACKGROUND) + rng.integers(-6, 7, size=3)
  big = Image.new('RGB', (side, side), _to_rgb(tone))
  draw = ImageDraw.Draw(big)
  for item in scene.objects:
    jitter = rng.integers(-_COLOR_JITTER, _COLOR_JITTER + 1, size=3)
    fill = _to_rgb(np.array(RGB[item.colour]) + jitter)
    if item.shape == 'circle':
      draw.ellipse([v * _SUPERSAMPLING for v in extent(item)], fill=fill)
    else:
      corners = [
        (
          (item.x + u * item.radius) * _SUPERSAMPLING,
          (item.y + v * item.radius) * _SUPERSAMPLING,
        )
        for u, v in _OUTLINES[item.shape]
      ]
      draw.polygon(corners, fill=fill)
  pixels = np.asarray(big.reduce(_SUPERSAMPLING), np.float32)
  noise = rng.normal(0.0, _PIXEL_NOISE, size=pixels.shape)
  # Even numbers only: smaller files, with no visible difference.
  noisy = np.round((pixels + noise) / 2) * 2
  return Image.fromarray(np.clip(noisy, 0, 254).astype(np.uint8))


def extent(item: scenes.Object) -> tuple[float, float, float, float]:
  """Returns the bounding box of the drawn object, x1, y1, x2, y2 in pixels."""
  if item.shape == 'circle':
    corners: tuple[tuple[float, float], ...] = ((-1, -1), (1, 1))
  else:
    corners = _OUTLINES[item.shape]
  us, vs = zip(*corners)
  return (
    item.x + min(us) * item.radius,
    item.y + min(vs) * item.radius,
    item.x + max(us) * item.radius,
    item.y + max(vs) * item.radius,
  )


def propose_regions(
  scene: scenes.Scene, rng: np.random.Generator
) -> np.ndarray:
  """Returns boxes like a detector's: every object, and some background.

  Args:
    scene: the scene.
    rng: draws jitter, background boxes and order.
  Returns:
    float32 [r, 4]: x1, y1, x2, y2 in pixels, in random order; r is the
    number of objects plus 2 or 3.
  """
  objects = np.array([extent(item) for item in scene.objects])
  jittered = objects + rng.uniform(-_BOX_JITTER, _BOX_JITTER, objects.shape)
  count = int(rng.integers(2, MAX_BACKGROUND_BOXES + 1))
  background = [_background_box(objects, rng) for _ in range(count)]
  boxes = np.concatenate([jittered, np.array(background)])
  boxes = np.clip(boxes, 0, scenes.CANVAS)
  return rng.permutation(boxes).astype(np.float32)


def _background_box(
  objects: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Returns a box [4] that touches no object, if a few tries find one."""
  for _ in range(30):
    sides = rng.uniform(10, 30, size=2)
    corner = rng.uniform(0, scenes.CANVAS - sides)
    box = np.concatenate([corner, corner + sides])
    overlap = np.minimum(objects[:, 2:], box[2:]) - np.maximum(
      objects[:, :2], box[:2]
    )
    if not (overlap > 0).all(axis=1).any():
      break
  return box


def region_features(image: Image.Image, boxes: np.ndarray) -> np.ndarray:
  """Returns normalized, shrunk pixels of every region and its surroundings.

  A crop of the box alone hides the object's size; detectors' features reveal
  both, and so do these.

  Args:
    image: RGB picture.
    boxes: float [r, 4] in pixels; the crop is the square around the box.
  Returns:
    float32 [r, 240]: 8 x 8 pixels of the crop, then 4 x 4 pixels of the 40 x
    40 square with the same center, row by row, red, green and blue of each;
    about zero mean and unit variance over many pictures.
  """
  x1, y1, x2, y2 = np.asarray(boxes, np.float64).T
  half = np.maximum(x2 - x1, y2 - y1) / 2 * _CROP_MARGIN
  wide = np.full_like(half, _SURROUNDINGS_SIDE / 2)
  # A crop may extend beyond the border: repeat the border's pixels there.
  pad = int(np.ceil(np.maximum(half, wide).max(initial=0.0))) + 1
  x, y = (x1 + x2) / 2 + pad, (y1 + y2) / 2 + pad
  padded = Image.fromarray(
    np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), 'edge')
  )
  crops = [
    _shrink(padded, np.stack([x - r, y - r, x + r, y + r], axis=1), pixels)
    for r, pixels in ((half, CROP), (wide, SURROUNDINGS))
  ]
  return (np.concatenate(crops, axis=1) - _PIXEL_MEAN) / _PIXEL_STD


def _shrink(image: Image.Image, squares: np.ndarray, side: int) -> np.ndarray:
  """Returns squares [r, 4] of the image as pixels, [r, side^2 * 3]."""
  features = np.empty((len(squares), side * side * 3), np.float32)
  for row, (left, top, right, bottom) in enumerate(squares.tolist()):
    # Resizing to fewer pixels averages, so it does not alias.
    crop = image.resize(
      (side, side), Image.Resampling.BOX, (left, top, right, bottom)
    )
    features[row] = np.asarray(crop, np.float32).reshape(-1)
  return features


def boxes7(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
  """Returns UNITER's seven numbers for every box.

  Args:
    boxes: float [r, 4]: x1, y1, x2, y2 in pixels.
    width, height: of the picture, in pixels.
  Returns:
    float32 [r, 7]: x1, y1, x2, y2, w, h, w * h, as fractions of the picture.
  """
  scaled = boxes / np.array([width, height, width, height], np.float32)
  sides = scaled[:, 2:] - scaled[:, :2]
  area = sides[:, :1] * sides[:, 1:]
  return np.concatenate([scaled, sides, area], axis=1).astype(np.float32)


def _to_rgb(values: np.ndarray) -> tuple[int, int, int]:
  red, green, blue = (int(v) for v in np.clip(values, 0, 255))
  return red, green, blue
