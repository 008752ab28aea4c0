"""Regions of an object detector, with patch tokens averaged in its boxes.

The detector runs with PyTorch, an extra that is imported when needed.
"""

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from tagsdc_jax import errors
from tagsdc_jax.conversion import hub
from tagsdc_jax.preparing.photos import cells, encoding, opening
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable

THRESHOLD, MAX_BOXES = 0.2, 35
# Pixels: detectors read photos of up to 1333, and JPEGs that are far larger are
# decoded at a fraction of their size.
_LONGEST = 1400
_WHOLE_LABEL = -1


@dataclasses.dataclass(frozen=True, slots=True)
class _Decoded:
  image: Image.Image
  pixels: UInt8[np.ndarray, 'side side 3']
  width: int
  height: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
  """The boxes of a photo, the most probable first, without the whole photo."""

  boxes: Float[np.ndarray, 'boxes 4']
  confidence: Float[np.ndarray, 'boxes']
  labels: Int[np.ndarray, 'boxes']


class DetectorExtractor:
  """Averages patch tokens over the whole photo and over a detector's boxes.

  The first region is the whole photo, with confidence 1 and label -1.

  Attributes:
    kind: for messages.
    sources: files of the vision transformer's weights, and the detector's.
    label_names: of the class numbers.
    max_regions: most regions of a photo.
  """

  kind = 'photos, detector'

  def __init__(
    self,
    encoder: str,
    detector: str,
    size: int | None = None,
    threshold: float = THRESHOLD,
    max_boxes: int = MAX_BOXES,
  ) -> None:
    """Makes an extractor.

    Args:
      encoder: folder or hub name of a vision transformer.
      detector: folder or hub name of an object detection model.
      size: side of the vision transformer's input; None: that of the weights.
      threshold: boxes must be at least this probable.
      max_boxes: the most probable boxes that are kept.
    Raises:
      UserError: if a number is out of range, PyTorch is missing, or a model
        cannot be loaded.
    """
    if not 0 <= threshold <= 1:
      raise errors.UserError(
        f'threshold must be from 0 to 1, got {threshold:g}'
      )
    if max_boxes < 1:
      raise errors.UserError(f'max_boxes must be at least 1, got {max_boxes}')
    self._threshold, self._max_boxes = threshold, max_boxes
    self._detector = LazyDetector(detector)
    self.max_regions = 1 + max_boxes
    self._lazy = encoding.LazyEncoder(encoder, size, self.max_regions)
    self.label_names = self._detector.label_names
    self.sources = (*self._lazy.weights.files, *self._detector.files)

  @property
  def batch_size(self) -> int:
    """Returns the photos of a batch."""
    return self._lazy.get().batch_size

  def decode(self, path: Path) -> _Decoded | Unreadable:
    """Returns a photo for detector and network; runs in threads."""
    encoder = self._lazy.get()
    photo = opening.open_photo(path, max(_LONGEST, 2 * encoder.side))
    if isinstance(photo, Unreadable):
      return photo
    pixels = encoder.pixels_of(photo.image)
    # Many wait for the detector, which shrinks them further.
    photo.image.thumbnail((2 * _LONGEST, 2 * _LONGEST))
    return _Decoded(photo.image, pixels, photo.width, photo.height)

  def start(self, decoded: Sequence[_Decoded]) -> Any:
    """Starts the computation for at most batch_size photos; see `finish`."""
    encoder = self._lazy.get()
    regions, weights = [], []
    for photo in decoded:
      size = photo.width, photo.height
      found = self._detector.detect(
        photo.image, *size, self._threshold, self._max_boxes
      )
      whole = np.array([[0, 0, *size]], np.float32)
      boxes = np.concatenate([whole, found.boxes])
      regions.append((boxes, found, size))
      weights.append(cells.box_weights(boxes, *size, encoder.rows))
    pixels = [photo.pixels for photo in decoded]
    return regions, encoder.start(pixels, weights)

  def finish(self, started: Any) -> list[StoredRegions]:
    """Returns the regions of the photos given to `start`."""
    regions, running = started
    return [
      StoredRegions(
        features=features,
        boxes=boxes,
        confidence=np.append(np.float32(1), found.confidence),
        labels=np.append(np.int64(_WHOLE_LABEL), found.labels),
        width=width,
        height=height,
      )
      for (boxes, found, (width, height)), features in zip(
        regions, self._lazy.get().finish(running)
      )
    ]


class LazyDetector:
  """An object detection model of `transformers`; a pickle loads it again.

  Photos are detected one by one, as the padding of a batch would change the
  boxes.

  Attributes:
    label_names: of the class numbers.
    files: that were read.
  """

  def __init__(self, name: str) -> None:
    """Loads a model.

    Args:
      name: folder or hub name.
    Raises:
      UserError: if PyTorch is missing or the model cannot be loaded.
    """
    self._name = name
    self._lock = threading.Lock()
    folder = hub.model_folder(name)
    self.files = tuple(str(path) for path in hub.files_of(folder))
    self._processor, self._model = _load(folder)
    names = self._model.config.id2label
    self.label_names = tuple(
      str(names.get(number, number)) for number in range(len(names))
    )

  def detect(
    self,
    image: Image.Image,
    width: int,
    height: int,
    threshold: float,
    max_boxes: int,
  ) -> _Found:
    """Returns the boxes of a photo, within it, the most probable first.

    Args:
      image: RGB, maybe smaller than the photo.
      width, height: of the photo; boxes are in its pixels.
      threshold: boxes must be at least this probable.
      max_boxes: the most that are returned.
    """
    import torch

    with self._lock, torch.inference_mode():
      inputs = self._processor(images=image, return_tensors='pt')
      outputs = self._model(**inputs.to(self._model.device))
      (found,) = self._processor.post_process_object_detection(
        outputs, threshold=threshold, target_sizes=[(height, width)]
      )
    boxes = found['boxes'].float().cpu().numpy()
    boxes = np.clip(boxes, 0, [width, height, width, height])
    confidence = found['scores'].float().cpu().numpy()
    labels = found['labels'].cpu().numpy()
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    order = np.argsort(-confidence, kind='stable')
    rows = order[has_area[order]][:max_boxes]
    return _Found(
      boxes[rows].astype(np.float32),
      confidence[rows].astype(np.float32),
      labels[rows].astype(np.int64),
    )

  def __getstate__(self) -> str:
    return self._name

  def __setstate__(self, name: str) -> None:
    self.__init__(name)  # type: ignore[misc]


def _load(folder: Path) -> tuple[Any, Any]:
  """Returns the image processor and the model of a folder.

  Raises:
    UserError: if PyTorch is missing, or it is no object detection model.
  """
  try:
    import torch
  except ImportError as error:
    raise errors.UserError(
      'extractor detector needs PyTorch, which is not installed: pip install '
      '"tagsdc_jax[vision]", or use extractor grid'
    ) from error
  import transformers

  options: dict[str, Any] = {
    'local_files_only': True,
    'trust_remote_code': False,
  }
  try:
    processor = transformers.AutoImageProcessor.from_pretrained(
      folder, **options
    )
    model, report = transformers.AutoModelForObjectDetection.from_pretrained(
      folder, use_safetensors=True, output_loading_info=True, **options
    )
  except ImportError as error:
    raise errors.UserError(
      f'{folder} needs a package that is not installed: {_one_line(error)}'
    ) from error
  except Exception as error:  # Damaged files make transformers raise anything.
    raise errors.UserError(
      f'{folder} cannot be loaded as an object detection model of '
      f'transformers: {_one_line(error)}; use one such as PekingU/rtdetr_r18vd'
    ) from error
  if missing := sorted({*report['missing_keys'], *report['mismatched_keys']}):
    raise errors.UserError(
      f'{folder} lacks {len(missing)} weights of an object detection model, '
      f'such as {missing[0]}; use one that was trained to detect objects'
    )
  if not hasattr(processor, 'post_process_object_detection'):
    raise errors.UserError(
      f'{folder}: its image processor, {type(processor).__name__}, returns no '
      'boxes; use another object detection model'
    )
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  return processor, model.eval().to(device)


def _one_line(error: Exception) -> str:
  """Returns the first sentence of a message."""
  text = ' '.join(str(error).split()) or type(error).__name__
  text = text.split('. ')[0].rstrip('.')
  return text if len(text) <= 200 else f'{text[:200]}...'
