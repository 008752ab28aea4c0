"""Regions of regular cells, with the embedded world's features: their pixels.

For tests and toys: no weights are needed, and nothing is learned about photos.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tagsdc_jax.data.world import pictures
from tagsdc_jax.preparing.photos import cells, opening
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

# Pixels; larger photos are shrunk to this side, smaller ones are used as they
# are. Crops are 8 x 8, so that more would not be seen.
_LONGEST = 512


class PixelExtractor:
  """Shrinks the pixels of the whole photo and of its 6 x 6 cells.

  Attributes:
    kind: for messages.
    sources: none.
    label_names: none.
    max_regions: of every photo.
    batch_size: photos of a batch.
  """

  kind = 'photos, pixels'
  sources: tuple[str, ...] = ()
  label_names: tuple[str, ...] = ()
  max_regions = 1 + cells.GRID**2
  batch_size = 1

  def decode(self, path: Path) -> StoredRegions | Unreadable:
    """Returns the regions of a photo; runs in threads."""
    photo = opening.open_photo(path, _LONGEST)
    if isinstance(photo, Unreadable):
      return photo
    image = photo.image
    if max(image.size) > _LONGEST:
      image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    return StoredRegions(
      features=pictures.region_features(image, cells.cell_boxes(*image.size)),
      boxes=cells.cell_boxes(photo.width, photo.height),
      width=photo.width,
      height=photo.height,
    )

  def start(self, decoded: Sequence[StoredRegions]) -> Any:
    """Returns what `finish` takes."""
    return list(decoded)

  def finish(self, started: Any) -> list[StoredRegions]:
    """Returns the regions of the photos given to `start`."""
    return started
