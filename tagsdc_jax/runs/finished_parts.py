"""Finished parts of an evaluation on disk, so that it can be continued.

A folder is named after all that determines the scores, and every file's
checksum includes that name: nothing of another checkpoint, split or plan can
be taken for a part of this one.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files
from tagsdc_jax.runs import lock

ABOUT = 'about.json'
_SUFFIX = '.part'
_DIGEST_BYTES = hashlib.sha256().digest_size


class FinishedParts:
  """Parts of one matrix of scores, a file each."""

  def __init__(self, parent: Path, name: str, about: dict[str, Any],
               shape: tuple[int, int]) -> None:
    """Makes the folder, or finds it.

    Args:
      parent: where it lies.
      name: what it is called, before the hash.
      about: JSON-able facts; all that determines the scores.
      shape: of every part.
    Raises:
      UserError: if the file system refuses.
    """
    text = json.dumps(about, sort_keys=True)
    self._key = hashlib.sha256(text.encode('utf-8')).digest()
    self._shape = shape
    self.path = parent / f'{name}-{self._key.hex()[:12]}'
    with errors.named(self.path, option='--work-dir'):
      self.path.mkdir(parents=True, exist_ok=True)
    self._about = about

  @contextmanager
  def claimed(self, process: int) -> Iterator[None]:
    """Keeps other evaluations out.

    Args:
      process: each claims its share; the first one writes ABOUT as well.
    Raises:
      UserError: if another one is at work.
    """
    own = lock.Lock(self.path / f'process_{process}.lock', 'wait for the '
                    'same evaluation, or give another --work-dir',
                    option='--work-dir')
    with own.held():
      if not process and not (self.path / ABOUT).exists():
        files.write_json(self.path / ABOUT, self._about)
      yield

  def save(self, part: int, scores: np.ndarray) -> None:
    """Writes a part whole or not at all.

    Args:
      part: its number.
      scores: float32 [shape].
    Raises:
      UserError: if the file system refuses.
    """
    content = io.BytesIO()
    np.save(content, scores, allow_pickle=False)

    def write(file: Any) -> None:
      file.write(self._digest(part, content.getbuffer()))
      file.write(content.getbuffer())
    files.write_whole(self._file(part), write)

  def has(self, part: int) -> bool:
    """Returns whether there is a file of the part, whole or not."""
    return self._file(part).exists()

  def load(self, part: int) -> np.ndarray | None:
    """Returns a part, float32 [shape]; None if it is missing or damaged."""
    path = self._file(part)
    with errors.named(path, 'read'):
      try:
        content = path.read_bytes()
      except FileNotFoundError:
        return None
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if digest != self._digest(part, rest):
      return None
    scores = np.load(io.BytesIO(rest), allow_pickle=False)
    return scores if scores.shape == self._shape else None

  def remove(self) -> None:
    """Removes the folder, and the one around it if that is empty then."""
    shutil.rmtree(self.path, ignore_errors=True)
    try:
      self.path.parent.rmdir()
    except OSError:
      pass  # Others lie there, or it was the user's.

  def _file(self, part: int) -> Path:
    return self.path / f'{part:06}{_SUFFIX}'

  def _digest(self, part: int, content: Any) -> bytes:
    digest = hashlib.sha256(self._key + part.to_bytes(8, 'big'))
    digest.update(content)
    return digest.digest()
