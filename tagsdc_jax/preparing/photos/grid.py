"""Regions of regular cells, with the patch tokens of a vision transformer."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tagsdc_jax.preparing.photos import cells, encoding, opening
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

# JPEGs are decoded at a fraction of their size if their sides stay this many
# times those of the input, where no difference is seen.
_OVERSAMPLING = 2


@dataclasses.dataclass(frozen=True, slots=True)
class _Decoded:
  pixels: UInt8[np.ndarray, 'side side 3']
  width: int
  height: int


class GridExtractor:
  """Averages patch tokens over the whole photo and over its 6 x 6 cells.

  Attributes:
    kind: for messages.
    sources: files of the weights.
    label_names: none.
    max_regions: of every photo.
  """

  kind = 'photos, grid'
  label_names: tuple[str, ...] = ()
  max_regions = 1 + cells.GRID**2

  def __init__(self, encoder: str, size: int | None = None) -> None:
    """Makes an extractor.

    Args:
      encoder: folder or hub name of a vision transformer.
      size: side of its square input in pixels; None: that of the weights.
    Raises:
      UserError: if the vision transformer cannot be loaded.
    """
    self._lazy = encoding.LazyEncoder(encoder, size, self.max_regions)
    self.sources = self._lazy.weights.files

  @property
  def batch_size(self) -> int:
    """Returns the photos of a batch."""
    return self._lazy.get().batch_size

  def decode(self, path: Path) -> _Decoded | Unreadable:
    """Returns a photo, ready for the network; runs in threads."""
    encoder = self._lazy.get()
    photo = opening.open_photo(path, _OVERSAMPLING * encoder.side)
    if isinstance(photo, Unreadable):
      return photo
    return _Decoded(encoder.pixels_of(photo.image), photo.width, photo.height)

  def start(self, decoded: Sequence[_Decoded]) -> Any:
    """Starts the computation for at most batch_size photos; see `finish`."""
    encoder = self._lazy.get()
    weights = cells.cell_weights(encoder.rows)
    pixels = [photo.pixels for photo in decoded]
    sizes = [(photo.width, photo.height) for photo in decoded]
    return sizes, encoder.start(pixels, [weights] * len(pixels))

  def finish(self, started: Any) -> list[StoredRegions]:
    """Returns the regions of the photos given to `start`."""
    sizes, running = started
    return [
      StoredRegions(
        features=features,
        boxes=cells.cell_boxes(width, height),
        width=width,
        height=height,
      )
      for (width, height), features in zip(
        sizes, self._lazy.get().finish(running)
      )
    ]
