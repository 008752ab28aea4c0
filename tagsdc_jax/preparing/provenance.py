"""Where data came from: paths, sizes and hashes of the files that were read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagsdc_jax import errors

# Larger files are hashed by their beginning, end and size: reading tens of
# gigabytes once more would take as long as preparing them.
_WHOLE = 2**28
_ENDS = 2**26
# Of folders with more files, names and sizes are hashed.
_MANY = 100


def describe(what: str, path: str, kind: str, files: Sequence[str]) -> Any:
  """Returns a source as JSON.

  Args:
    what: "captions", "regions", ...
    path: as the user named it.
    kind: name of its format.
    files: that were read; one of them may be `path` itself.
  Returns:
    {"what", "path", "kind", "bytes", "hash"}; the hash begins with what was
    hashed: "sha256", "sha256 of the ends and the size", or "sha256 of names and
    sizes".
  """
  paths = [Path(name) for name in files]
  with errors.named(Path(path), 'read'):
    sizes = [file.stat().st_size for file in paths]
    digest = hashlib.sha256()
    if len(paths) > _MANY:
      how = 'sha256 of names and sizes'
      for file, size in sorted(zip(paths, sizes, strict=True)):
        digest.update(f'{file.name} {size}\n'.encode())
    else:
      how = 'sha256'
      for file, size in zip(paths, sizes, strict=True):
        how = 'sha256 of the ends and the size' if size > _WHOLE else how
        _add(digest, file, size)
  return {
    'what': what,
    'path': path,
    'kind': kind,
    'bytes': sum(sizes),
    'hash': f'{how} {digest.hexdigest()}',
  }


def _add(digest: Any, file: Path, size: int) -> None:
  with file.open('rb') as stream:
    if size <= _WHOLE:
      while part := stream.read(2**22):
        digest.update(part)
      return
    digest.update(stream.read(_ENDS))
    stream.seek(-_ENDS, 2)
    digest.update(stream.read())
    digest.update(str(size).encode())
