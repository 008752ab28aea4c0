"""Opens photos of any kind as RGB, or says why they cannot be used."""

import dataclasses
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tagsdc_jax import errors, files
from tagsdc_jax.preparing.regions.store import Unreadable

# Pixels of the largest photo: Pillow refuses more, as decoding such a file
# can take all memory. A phone of 108 megapixels stays below.
MAX_PIXELS = 178_956_970
# Larger photos are decoded one at a time, so that threads do not add up.
_LARGE = 24_000_000
_one_large = threading.Lock()

_WHITE = (255, 255, 255)
_ALPHA = ('RGBA', 'RGBa', 'LA', 'La', 'PA')
# Readers of these formats are no part of Pillow.
_FOREIGN = {'.heic': 'HEIC', '.heif': 'HEIF'}


@dataclasses.dataclass(frozen=True, slots=True)
class Photo:
  """A photo as it is shown.

  Attributes:
    image: RGB, turned as its EXIF data say; may be smaller than the photo, see
      `open_photo`.
    width, height: of the photo in pixels, turned likewise.
  """

  image: Image.Image
  width: int
  height: int


def open_photo(
  path: Path, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Photo | Unreadable:
  """Returns a photo as RGB: the first frame, transparent parts white.

  Gray, palette, CMYK and 16-bit photos are converted; color profiles are not
  applied. Call it within `quiet`.

  Args:
    path: of the file; its content counts, not its suffix.
    at_least: a JPEG may be decoded at a half, a quarter or an eighth of its
      size if both sides stay at least this long, which is faster.
    max_pixels: larger photos are refused; at most MAX_PIXELS.
  """
  try:
    with Image.open(path) as image:
      width, height = image.size
      if width * height > max_pixels:
        return _too_large(path, f'{width} x {height}', max_pixels)
      if at_least:
        image.draft('RGB', (at_least, at_least))
      if width * height > _LARGE:
        with _one_large:
          rgb = _rgb(image)
      else:
        rgb = _rgb(image)
      if _is_turned(image):
        width, height = height, width
      return Photo(rgb, width, height)
  except Image.DecompressionBombError:
    return _too_large(path, 'more', max_pixels)
  except Exception as error:  # Damaged files make Pillow raise anything.
    return Unreadable(f'{path} cannot be read as a photo: {_why(path, error)}')


def size_of(path: Path) -> tuple[int, int]:
  """Returns width and height of a photo as it is shown, without decoding it.

  Returns zeros if it cannot be read.
  """
  try:
    with quiet(), Image.open(path) as image:
      width, height = image.size
      return (height, width) if _is_turned(image) else (width, height)
  except Exception:  # See `open_photo`.
    return 0, 0


@contextmanager
def quiet() -> Iterator[None]:
  """Silences Pillow's warnings, for all threads that run within the block.

  They are of damaged EXIF data and large files, about which `open_photo` says
  what matters.
  """
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', module=r'PIL\.')
    warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    yield


def _rgb(image: Image.Image) -> Image.Image:
  """Returns the first frame as RGB, turned upright."""
  image.load()
  turned = image
  try:
    turned = ImageOps.exif_transpose(image)
  except Exception:  # Damaged EXIF data do not make the pixels worse.
    pass
  return _converted(turned)


def _converted(image: Image.Image) -> Image.Image:
  if image.mode == 'RGB' and 'transparency' not in image.info:
    return image.copy()
  if image.mode in _ALPHA or 'transparency' in image.info:
    layer = image.convert('RGBA')
    white = Image.new('RGBA', layer.size, (*_WHITE, 255))
    return Image.alpha_composite(white, layer).convert('RGB')
  if image.mode.startswith('I') or image.mode == 'F':
    return Image.fromarray(_eight_bit(np.asarray(image))).convert('RGB')
  return image.convert('RGB')


def _eight_bit(values: np.ndarray) -> np.ndarray:
  """Returns gray values of more bits, or floating point, as uint8.

  The largest value says what is white: 1 for floats up to it, 255 if none is
  larger, else 65535.
  """
  low, high = float(values.min()), float(values.max())
  if not 0 <= low <= high <= 65535:  # Also false if any is NaN.
    raise ValueError(
      f'its values must be from 0 to 65535, got {low:.6g} to {high:.6g}; '
      'save it as JPEG or PNG'
    )
  is_unit = values.dtype.kind == 'f' and high <= 1
  white = 1 if is_unit else 255 if high <= 255 else 65535
  return np.round(values.astype(np.float64) * (255 / white)).astype(np.uint8)


def _is_turned(image: Image.Image) -> bool:
  """Returns whether EXIF data swap width and height."""
  try:
    return image.getexif().get(0x0112) in (5, 6, 7, 8)
  except Exception:
    return False


def _too_large(path: Path, size: str, limit: int) -> Unreadable:
  return Unreadable(
    f'{path} must have at most {limit:,} pixels, got {size}; make it smaller'
  )


def _why(path: Path, error: Exception) -> str:
  """Returns why Pillow failed, and what to do, on one line."""
  if isinstance(error, OSError) and error.strerror:
    return errors.refusal(error) or error.strerror
  try:
    if not path.stat().st_size:
      return 'it is empty; copy or download it again'
  except OSError:
    pass
  if isinstance(error, Image.UnidentifiedImageError):
    if path.suffix.lower() in _FOREIGN:
      kind = _FOREIGN[path.suffix.lower()]
      return f'Pillow does not read {kind}; convert it to JPEG'
    return files.kind_of_text(path) or (
      'it is not an image that Pillow knows; convert it to JPEG or PNG'
    )
  if isinstance(error, MemoryError):
    return 'not enough memory; make it smaller'
  text = ' '.join(str(error).split())[:200].rstrip('.')
  text = text or type(error).__name__
  return text if ';' in text else f'{text}; copy or download it again'
