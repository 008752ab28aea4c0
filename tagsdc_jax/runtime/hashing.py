"""All hashes: of parameters, arrays, files, and the contents of checkpoints.

Stored hashes are compared with new ones, so these functions must not change.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

KEY = 'hashes'  # In a checkpoint's metadata.
_CHECKPOINT_BYTES = 16  # Of each of these.
SHA256_BYTES = 32


def sha256(parts: Iterable[bytes | memoryview]) -> bytes:
  """Returns the hash of the concatenated parts."""
  digest = hashlib.sha256()
  for part in parts:
    digest.update(part)
  return digest.digest()


def parameters_sha256(params: Any) -> str:
  """Returns the hash of all parameters as float32, sorted by name."""
  flat = traverse_util.flatten_dict(params, sep='/')
  return sha256(
    np.ascontiguousarray(leaf, '<f4').tobytes()
    for _, leaf in sorted(flat.items())
  ).hex()


def arrays_sha256(*arrays: np.ndarray) -> str:
  """Returns the hash of dtypes, shapes and bytes."""
  return sha256(
    part
    for array in arrays
    for part in (
      f'{array.dtype} {array.shape}\n'.encode(),
      np.ascontiguousarray(array).tobytes(),
    )
  ).hex()


def file_sha256(path: Path) -> str:
  """Returns the hash of a file's bytes."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def with_hashes(
  about: dict[str, Any], arrays: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the metadata with hashes of all arrays and of itself.

  Args:
    about: JSON-serializable metadata.
    arrays: name of the part -> nested numpy arrays.
  """
  facts = json.loads(json.dumps(about))  # As it will be read back.
  return facts | {KEY: {'about': _of_facts(facts)} | _of_arrays(arrays)}


def check_hashes(about: dict[str, Any], arrays: Mapping[str, Any]) -> None:
  """Raises ValueError if arrays or metadata differ from what was saved.

  Checkpoints of earlier versions, without hashes, pass.

  Args:
    about: metadata as read; the hashes are removed from it.
    arrays: the parts that were read, as in `with_hashes`.
  """
  saved = about.pop(KEY, None)
  if saved is None:
    return
  found = {'about': _of_facts(about)} | _of_arrays(arrays)
  expected = {
    name: value
    for name, value in saved.items()
    if name.split('/')[0] in {'about', *arrays}
  }
  wrong = sorted(
    name
    for name in found.keys() | expected.keys()
    if found.get(name) != expected.get(name)
  )
  if wrong:
    more = f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''
    raise ValueError(f'{wrong[0]} differs from what was saved{more}')


def _of_facts(about: dict[str, Any]) -> str:
  return _digest(json.dumps(about, sort_keys=True).encode())


def _of_arrays(arrays: Mapping[str, Any]) -> dict[str, str]:
  leaves = [
    (f'{part}/{jax.tree_util.keystr(path, simple=True, separator="/")}', leaf)
    for part, tree in arrays.items()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  ]
  # Threads, because hashing large buffers releases the GIL.
  with futures.ThreadPoolExecutor() as pool:
    digests = pool.map(lambda leaf: _of_array(np.asarray(leaf[1])), leaves)
    return {name: digest for (name, _), digest in zip(leaves, digests)}


def _of_array(array: np.ndarray) -> str:
  return _digest(
    str((array.dtype.str, array.shape)).encode(),
    np.ascontiguousarray(array).reshape(-1).view(np.uint8).data,
  )


def _digest(*parts: bytes | memoryview) -> str:
  digest = hashlib.blake2b(digest_size=_CHECKPOINT_BYTES)
  for part in parts:
    digest.update(part)
  return digest.hexdigest()
