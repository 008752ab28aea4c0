"""Encodes the page's pictures."""

import io

from PIL import Image

# The embedded world's pictures are 96 pixels wide, shown at about 340.
_SCALE, _COLORS = 3, 256


def to_png(picture: Image.Image) -> bytes:
  """Returns the picture enlarged, as a PNG file.

  A small palette suffices for flat shapes on noise and takes a third of the
  bytes.
  """
  width, height = picture.size
  large = picture.resize(
    (_SCALE * width, _SCALE * height), Image.Resampling.BICUBIC
  )
  stream = io.BytesIO()
  few = large.quantize(_COLORS, dither=Image.Dither.NONE)
  few.save(stream, 'PNG', optimize=True)
  return stream.getvalue()
