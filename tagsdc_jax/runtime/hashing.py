"""Hashes of a checkpoint's content, which its file format does not keep."""

import hashlib
import json
from collections.abc import Mapping
from concurrent import futures
from typing import Any

import jax
import numpy as np

KEY = 'hashes'
_SIZE = 16  # Bytes.


def with_hashes(about: dict[str, Any],
                arrays: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the facts with a hash of every array and of themselves.

  Args:
    about: JSON-able facts.
    arrays: name of the part -> nested numpy arrays.
  """
  facts = json.loads(json.dumps(about))  # As it will come back.
  return facts | {KEY: {'about': _of_facts(facts)} | _of_arrays(arrays)}


def check_hashes(about: dict[str, Any], arrays: Mapping[str, Any]) -> None:
  """Raises ValueError if arrays or facts are not what was saved.

  Checkpoints of versions that kept no hashes pass.

  Args:
    about: facts as read; the hashes are taken out.
    arrays: the parts that were read, as in `with_hashes`.
  """
  kept = about.pop(KEY, None)
  if kept is None:
    return
  found = {'about': _of_facts(about)} | _of_arrays(arrays)
  expected = {name: value for name, value in kept.items()
              if name.split('/')[0] in {'about', *arrays}}
  wrong = sorted(name for name in found.keys() | expected.keys()
                 if found.get(name) != expected.get(name))
  if wrong:
    more = f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''
    raise ValueError(f'{wrong[0]} is not what was saved{more}')


def _of_facts(about: dict[str, Any]) -> str:
  return _digest(json.dumps(about, sort_keys=True).encode())


def _of_arrays(arrays: Mapping[str, Any]) -> dict[str, str]:
  leaves = [
      (f'{part}/{jax.tree_util.keystr(path, simple=True, separator="/")}',
       leaf) for part, tree in arrays.items()
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
  # Threads: hashing large buffers lets go of the interpreter.
  with futures.ThreadPoolExecutor() as pool:
    digests = pool.map(lambda leaf: _of_array(np.asarray(leaf[1])), leaves)
    return {name: digest for (name, _), digest in zip(leaves, digests)}


def _of_array(array: np.ndarray) -> str:
  return _digest(str((array.dtype.str, array.shape)).encode(),
                 np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _digest(*parts: bytes | memoryview) -> str:
  digest = hashlib.blake2b(digest_size=_SIZE)
  for part in parts:
    digest.update(part)
  return digest.hexdigest()
