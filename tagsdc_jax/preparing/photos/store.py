"""A folder of photos as a store of regions, computed when they are read."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, Protocol

from tagsdc_jax import errors, paths
from tagsdc_jax.preparing.photos import detector as detectors
from tagsdc_jax.preparing.photos import folder as folders
from tagsdc_jax.preparing.photos import grid, opening, pixels
from tagsdc_jax.preparing.regions import conventions
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

EXTRACTORS = ('grid', 'detector', 'pixels')
_EXAMPLE_ENCODER = 'facebook/dinov2-small'
_EXAMPLE_DETECTOR = 'PekingU/rtdetr_r18vd'
_MOST_THREADS = 16


class Extractor(Protocol):
  """Turns photos into regions.

  Attributes:
    kind: for messages.
    sources: the files of its weights.
    label_names: of the class numbers in `StoredRegions.labels`, if any.
    max_regions: most regions of a photo.
  """

  kind: str
  sources: tuple[str, ...]
  label_names: tuple[str, ...]
  max_regions: int

  @property
  def batch_size(self) -> int:
    """Returns the photos of a batch."""
    ...

  def decode(self, path: Path) -> Any:
    """Returns what `start` needs of a photo, or Unreadable; runs in threads."""
    ...

  def start(self, decoded: Sequence[Any]) -> Any:
    """Starts the computation for at most batch_size photos."""
    ...

  def finish(self, started: Any) -> list[StoredRegions]:
    """Returns the regions of the photos given to `start`."""
    ...


class PhotoStore:
  """A `RegionStore` over the photos of a folder.

  Photos are decoded in threads while the devices compute. Use it from one
  process per host: it takes all local devices. Memory holds the photos of three
  batches, whatever the number of names.

  Attributes:
    path, kind, names: as in `RegionStore`; names are paths relative to the
      folder, with "/".
    sources: the files of the weights; not the photos.
    label_names: of the class numbers in `StoredRegions.labels`.
  """

  def __init__(self, path: str, extractor: Extractor) -> None:
    """Lists the photos.

    Raises:
      UserError: as `folder.photo_names`.
    """
    self.path = path
    self.kind = extractor.kind
    self.sources = extractor.sources
    self.label_names = extractor.label_names
    self._folder = paths.folder(path)
    self._extractor = extractor
    self.names = folders.photo_names(self._folder)

  def read(self, names: Sequence[str]) -> list[StoredRegions | Unreadable]:
    """Returns the regions of the named photos, which are in `names`.

    Boxes are in pixels of the photo as it is shown, features float32. On a CPU
    the result for a photo does not depend on the others, to the last bit.
    """
    return read_photos(self._extractor, [self._folder / n for n in names])


def read_photos(
  extractor: Extractor, paths_: Sequence[Path]
) -> list[StoredRegions | Unreadable]:
  """Returns the regions of photos; see `PhotoStore.read`."""
  size = extractor.batch_size
  results: list[StoredRegions | Unreadable | None] = [None] * len(paths_)
  rows: list[int] = []
  batch: list[Any] = []
  running: tuple[list[int], Any] | None = None

  def swap(started: tuple[list[int], Any] | None) -> None:
    nonlocal running
    finished, running = running, started
    if finished:
      for row, regions in zip(finished[0], extractor.finish(finished[1])):
        results[row] = regions

  workers = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
  with opening.quiet(), futures.ThreadPoolExecutor(workers) as pool:
    ahead = _ahead(pool, extractor.decode, paths_, size + workers)
    for row, decoded in enumerate(ahead):
      if isinstance(decoded, Unreadable):
        results[row] = decoded
        continue
      rows.append(row)
      batch.append(decoded)
      if len(batch) == size:
        swap((rows, extractor.start(batch)))
        rows, batch = [], []
    if batch:
      swap((rows, extractor.start(batch)))
    swap(None)
  return [result for result in results if result is not None]


def open_photos(
  path: str,
  extractor: str,
  encoder: str | None = None,
  detector: str | None = None,
  size: int | None = None,
  threshold: float = detectors.THRESHOLD,
  max_boxes: int = detectors.MAX_BOXES,
) -> PhotoStore:
  """Returns a folder of photos as a `RegionStore`.

  Args:
    path: of the folder; folders within are searched too.
    extractor, encoder, detector, size, threshold, max_boxes: see
      `make_extractor`.
  Raises:
    UserError: as `make_extractor`, or if there are no photos.
  """
  _check_options(extractor, encoder, detector, size)
  folders.photo_names(paths.folder(path))  # Before large files are loaded.
  return PhotoStore(
    path,
    make_extractor(extractor, encoder, detector, size, threshold, max_boxes),
  )


def make_extractor(
  extractor: str,
  encoder: str | None = None,
  detector: str | None = None,
  size: int | None = None,
  threshold: float = detectors.THRESHOLD,
  max_boxes: int = detectors.MAX_BOXES,
) -> Extractor:
  """Returns what turns photos into regions.

  Args:
    extractor: "grid": regular cells; "detector": the boxes of a detector;
      "pixels": regular cells with shrunk pixels as features.
    encoder: folder or hub name of a vision transformer, which computes the
      features of grid and detector.
    detector: folder or hub name of an object detection model.
    size: side of the encoder's square input in pixels; None: that of the
      weights.
    threshold: detector only: boxes must be at least this probable.
    max_boxes: detector only: the most probable boxes that are kept.
  Raises:
    UserError: if an option is missing or does not fit, or a model cannot be
      loaded.
  """
  _check_options(extractor, encoder, detector, size)
  if extractor == 'grid':
    return grid.GridExtractor(str(encoder), size)
  if extractor == 'detector':
    return detectors.DetectorExtractor(
      str(encoder), str(detector), size, threshold, max_boxes
    )
  return pixels.PixelExtractor()


def convention_of(
  extractor: Extractor, feature_size: int
) -> conventions.Convention:
  """Returns how extractors write boxes: corners in pixels of the photo."""
  return conventions.Convention(
    kind=extractor.kind,
    columns=4,
    order=conventions.CORNERS,
    is_divided=False,
    has_sizes=True,
    is_exchanged=False,
    as_stored=False,
    feature_size=feature_size,
    num_sampled=0,
  )


def _check_options(
  extractor: str, encoder: str | None, detector: str | None, size: int | None
) -> None:
  needs = {'grid': ('encoder',), 'detector': ('encoder', 'detector')}
  if extractor not in EXTRACTORS:
    raise errors.UserError(
      f'extractor must be one of {", ".join(EXTRACTORS)}, got {extractor!r}'
    )
  given = {'encoder': encoder, 'detector': detector}
  examples = {'encoder': _EXAMPLE_ENCODER, 'detector': _EXAMPLE_DETECTOR}
  for option, value in given.items():
    is_needed = option in needs.get(extractor, ())
    if is_needed and not value:
      raise errors.UserError(
        f'extractor {extractor} needs the {option}, a Hugging Face folder or '
        f'name such as {examples[option]}'
      )
    if value and not is_needed:
      raise errors.UserError(
        f'extractor {extractor} has no use for the {option} {value}; leave it '
        'out, or use another extractor'
      )
  if extractor == 'pixels' and size is not None:
    raise errors.UserError(
      f'extractor pixels has no input size, got {size}; leave it out'
    )


def _ahead(
  pool: futures.ThreadPoolExecutor,
  function: Callable[[Path], Any],
  arguments: Iterable[Path],
  number: int,
) -> Iterator[Any]:
  """Yields results in order, while up to `number` more are computed."""
  waiting: collections.deque[futures.Future] = collections.deque()
  for argument in arguments:
    waiting.append(pool.submit(function, argument))
    if len(waiting) > number:
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()
