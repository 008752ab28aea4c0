"""What every reader of region features is: a store of pictures by name."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True, slots=True)
class StoredRegions:
  """The regions of one picture, as the file has them.

  Attributes:
    features: any float dtype.
    boxes: corners x1 y1 x2 y2, or corners and sides x1 y1 x2 y2 w h; in pixels,
      or divided by the picture's width or height. None: the format has none.
    confidence: the detector's, or None.
    labels: class numbers, or None.
    width, height: of the picture in pixels, 0 if the file does not say.
  """

  features: Float[np.ndarray, 'regions F']
  boxes: Float[np.ndarray, 'regions columns'] | None
  confidence: Float[np.ndarray, 'regions'] | None = None
  labels: Int[np.ndarray, 'regions'] | None = None
  width: int = 0
  height: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
  """A picture whose regions cannot be had.

  Attributes:
    reason: one line that names the file, the picture, what was expected, and
      what came.
  """

  reason: str


class RegionStore(Protocol):
  """Region features on disk, or computed from photos.

  Can be pickled; a copy opens its files when it is first read. Memory does not
  grow with the size of the files.

  Attributes:
    path: the file or folder, as the user named it.
    kind: name of the format, e.g. "BUTD tsv".
    names: of all pictures in it, unique.
    sources: the files that are read, for their hashes.
  """

  path: str
  kind: str
  names: Collection[str]
  sources: Sequence[str]

  def read(self, names: Sequence[str]) -> list[StoredRegions | Unreadable]:
    """Returns the regions of the named pictures, which are in `names`.

    The result for a picture does not depend on the others.
    """
    ...
