"""A folder of the finished parts of an evaluation, which can be resumed.

Its name is a hash of everything that determines the scores, and every file's
checksum includes it: no part of another checkpoint, split or plan can be
mistaken for one of this evaluation.
"""

import io
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tagsdc_jax import errors, files, settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import first_pass, tiles
from tagsdc_jax.runtime import hashing

ABOUT = 'about.json'
_SUFFIX, _JOINED = '.part', 'scores.npy'
# Number of images whose region features are hashed: reading all takes as long
# as some evaluations. Another feature store differs in all of them.
_IMAGES_READ = 16
_PRECISION = ('compute.dtype', 'compute.attention', 'compute.matmul_precision')
_VERSIONS = ('tagsdc_jax', 'jax', 'jaxlib', 'flax')


class ScoreCache:
  """A `matrix.Store` on disk: parts of one score matrix, one file each."""

  def __init__(
    self,
    parent: Path,
    name: str,
    about: dict[str, Any],
    images: np.ndarray,
    num_captions: int,
  ) -> None:
    """Creates or opens the folder.

    Args:
      parent: folder that contains it.
      name: its name before the hash.
      about: JSON-able facts that determine the scores, see `facts`.
      images: int [parts, devices, tile_images], see `tiles.Plan`.
      num_captions: of the split.
    Raises:
      UserError: if the folder cannot be created.
    """
    text = json.dumps(about, sort_keys=True)
    self._key = hashing.sha256([text.encode('utf-8')])
    self._images = images
    self._shape = images[0].size, num_captions
    self.path = parent / f'{name}-{self._key.hex()[:12]}'
    with errors.named(self.path, option='--work-dir'):
      self.path.mkdir(parents=True, exist_ok=True)
    self._about = about

  def write_about(self) -> None:
    """Writes the facts that determine the scores to about.json."""
    if not (self.path / ABOUT).exists():
      files.write_json(self.path / ABOUT, self._about)

  def missing(self, parts: Sequence[int], is_verbose: bool) -> list[int]:
    """Returns the parts that remain to be scored.

    Args:
      parts: those of this process.
      is_verbose: whether to report what was found on standard error.
    """
    missing = [part for part in parts if self.load(part) is None]
    damaged = [part for part in missing if self.has(part)]
    if damaged and is_verbose:
      _say(f'scoring {len(damaged)} corrupt parts in {self.path} again')
    if len(missing) < len(parts) and is_verbose:
      _say(
        f'resuming the evaluation in {self.path}: '
        f'{len(parts) - len(missing)} of {len(parts)} parts are finished'
      )
    return missing

  def save(self, part: int, scores: np.ndarray) -> None:
    """Writes a part atomically.

    Args:
      part: its number.
      scores: float32 [images of a part, captions].
    Raises:
      UserError: if the file cannot be written.
    """
    content = io.BytesIO()
    np.save(content, scores, allow_pickle=False)

    def write(file: Any) -> None:
      file.write(self._digest(part, content.getbuffer()))
      file.write(content.getbuffer())

    files.write_whole(self._file(part), write)

  def has(self, part: int) -> bool:
    """Returns whether the part has a file, intact or not."""
    return self._file(part).exists()

  def load(self, part: int) -> np.ndarray | None:
    """Returns a part, see `save`; None if it is missing or corrupt."""
    path = self._file(part)
    with errors.named(path, 'read'):
      try:
        content = path.read_bytes()
      except FileNotFoundError:
        return None
    digest, rest = (
      content[: hashing.SHA256_BYTES],
      content[hashing.SHA256_BYTES :],
    )
    if digest != self._digest(part, rest):
      return None
    scores = np.load(io.BytesIO(rest), allow_pickle=False)
    return scores if scores.shape == self._shape else None

  def joined(self) -> np.ndarray:
    """Returns all scores, float32 [captions, images], memory-mapped.

    The file is ordered by image, so that every part is written in place.

    Raises:
      UserError: if a part is missing.
    """
    path = self.path / _JOINED
    shape = int(self._images.max()) + 1, self._shape[1]

    def write(file: Any) -> None:
      np.lib.format.write_array_header_1_0(
        file, {'descr': '<f4', 'fortran_order': False, 'shape': shape}
      )
      start, size = file.tell(), 4 * shape[1]
      for part, images in enumerate(self._images):
        scores = self.load(part)
        if scores is None:
          raise errors.UserError(
            f'part {part} is missing or corrupt in {self.path}; run the '
            'same command again to score it'
          )
        for image, row in zip(images.reshape(-1), scores, strict=True):
          file.seek(start + int(image) * size)
          file.write(row.astype('<f4', copy=False).tobytes())

    files.write_whole(path, write)
    return np.load(path, mmap_mode='r').T

  def remove(self) -> None:
    """Removes the folder, and its parent if that is empty then."""
    shutil.rmtree(self.path, ignore_errors=True)
    try:
      self.path.parent.rmdir()
    except OSError:
      pass  # It contains other files, or belongs to the user.

  def _file(self, part: int) -> Path:
    return self.path / f'{part:06}{_SUFFIX}'

  def _digest(self, part: int, content: Any) -> bytes:
    return hashing.sha256([self._key, part.to_bytes(8, 'big'), content])


def facts(
  parameters: Any,
  data: dataset.RetrievalDataset,
  plan: tiles.Plan,
  config: settings.Settings,
  chosen: first_pass.FirstPass | None,
  devices: list[jax.Device],
) -> dict[str, Any]:
  """Returns JSON-able facts that determine the scores of an evaluation.

  Args:
    parameters: on the host, as evaluated.
    data: the split.
    plan: its tiles.
    config: only settings of the network and its precision are used.
    chosen: the pairs to score; None for all.
    devices: of each process; other devices round differently.
  """
  flat = settings.flatten(config)
  return {
    'parameters_sha256': hashing.parameters_sha256(parameters),
    'split': data.name,
    'split_sha256': split_sha256(data),
    'plan_sha256': hashing.arrays_sha256(
      plan.texts, plan.images, np.array(plan.buckets)
    ),
    'network': {
      key: value
      for key, value in flat.items()
      if key.startswith('model.') or key in _PRECISION
    },
    'first_pass': chosen and {'sha256': chosen.sha256, 'k': chosen.k},
    'devices': [len(devices), devices[0].platform, devices[0].device_kind],
    'versions': {name: metadata.version(name) for name in _VERSIONS},
  }


def split_sha256(data: dataset.RetrievalDataset) -> str:
  """Returns a hash of captions, ids, lengths, and some images' features."""

  def parts() -> Iterator[bytes]:
    for caption in data.captions:
      yield f'{caption.caption_id}\n{caption.image}\n'.encode()
      yield np.ascontiguousarray(caption.token_ids, '<i4').tobytes()
    for image_id, number in zip(data.image_ids, data.num_regions, strict=True):
      yield f'{image_id}\n{number}\n'.encode()
    last = len(data.image_ids) - 1
    for image in np.unique(np.linspace(0, last, _IMAGES_READ).astype(int)):
      regions = data.read_regions(int(image))
      yield hashing.arrays_sha256(regions.features, regions.boxes).encode()

  return hashing.sha256(parts()).hex()


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
