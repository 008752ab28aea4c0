"""Reads checkpoints from disk to the host, verified by their hashes.

Each process reads on its own: no process waits for another.
"""

import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from tagsdc_jax import errors, files
from tagsdc_jax.runtime import hashing, progress

# Exceptions that mean damaged or missing files. Others say nothing about the
# files: out of memory, no device, a disk that is not mounted.
_DAMAGE = (
  ValueError,
  LookupError,
  TypeError,
  AttributeError,
  EOFError,
  FileNotFoundError,
  IsADirectoryError,
  NotADirectoryError,
)
# TensorStore, which Orbax uses for reading, raises system errors as
# ValueErrors.
_SYSTEM_ERROR = re.compile(r"\[os_error_code='(\d+)'\]")
_MISSING = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR)


class Damaged(errors.UserError):
  """A checkpoint is permanently damaged."""


def by_update(folder: Path) -> list[Path]:
  """Returns the complete checkpoints in a folder, the newest first.

  Raises:
    UserError: if the folder exists but cannot be read.
  """
  with errors.named(folder, 'read'):
    try:
      names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
      return []
  return [
    folder / name
    for name in sorted(filter(str.isdecimal, names), key=int, reverse=True)
  ]


def first_whole(
  paths: Sequence[Path], names: tuple[str, ...]
) -> tuple[Path, list[Any]] | None:
  """Returns the first intact checkpoint; None if there are no paths.

  Args:
    paths: checkpoints in order of preference.
    names: parts to read.
  Returns:
    The checkpoint's path and its parts, in the order of `names`.
  Raises:
    UserError: if all are damaged, with the first one's problem; or if one may
      be intact but cannot be read. That is easily fixed, whereas an older
      checkpoint has different parameters.
  """
  first_error: Damaged | None = None
  for path in paths:
    _check_allowed(path, names)
    try:
      content = restore(path, names)
    except Damaged as error:
      first_error = first_error or error
      continue
    if first_error is not None:
      print(f'{first_error}; using {path} instead', file=sys.stderr, flush=True)
    return path, content
  if first_error is not None:
    raise first_error
  return None


def restore(path: Path, names: tuple[str, ...]) -> list[Any]:
  """Returns the parts of a checkpoint.

  Raises:
    Damaged: if one is damaged or missing.
    UserError: if the system cannot read them.
  """
  try:
    with (
      progress.waiting(f'reading checkpoint {path}'),
      ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
          composite_options=ocp.CompositeOptions(
            multiprocessing_options=alone()
          )
        ),
        multiprocessing_options=alone(),
      ) as checkpointer,
    ):
      items = ocp.args.Composite(
        **{
          name: ocp.args.JsonRestore()
          if name == 'about'
          else ocp.args.StandardRestore(_abstract(path / name))
          for name in names
        }
      )
      restored = checkpointer.restore(path.absolute(), args=items)
    parts = {name: restored[name] for name in names}
    about = parts.pop('about')
    hashing.check_hashes(about, parts)
  except _DAMAGE as error:
    number = _SYSTEM_ERROR.search(str(error))
    if number is not None and int(number[1]) not in _MISSING:
      raise _unreadable(path, os.strerror(int(number[1]))) from error
    lines = str(error).splitlines() or [type(error).__name__]
    raise Damaged(
      f'checkpoint {path} cannot be read: {lines[0].rstrip(".")[:300]}'
    ) from error
  except OSError as error:
    raise _unreadable(path, error.strerror or str(error)) from error
  return [restored[name] for name in names]


def _unreadable(path: Path, reason: str) -> errors.UserError:
  return errors.UserError(
    f'checkpoint {path} cannot be read: {reason}; it is not necessarily '
    'damaged: fix the cause, then run the same command again'
  )


def alone() -> ocp.options.MultiprocessingOptions:
  """Returns Orbax options with which this process waits for no other."""
  process = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=process,
    active_processes={process},
    barrier_sync_key_prefix=f'process{process}',
  )


def _check_allowed(path: Path, parts: tuple[str, ...]) -> None:
  """Raises UserError if a file lacks read permission or is only a pointer.

  Orbax reports files without read permission as missing.
  """

  def fail(error: OSError) -> None:
    raise error

  try:
    os.listdir(path)
    for part in parts:
      for folder, _, names in os.walk(path / part, onerror=fail):
        for name in names:
          files.check_no_pointer(Path(folder, name))
  except PermissionError as error:
    raise errors.UserError(
      f'checkpoint {path} cannot be read: permission denied for '
      f'{error.filename}; change its owner or mode, then run the same '
      'command again'
    ) from error
  except OSError:
    return  # `restore` reports it.


def _abstract(path: Path) -> Any:
  """Returns numpy placeholders, so that arrays are restored to the host."""
  with ocp.StandardCheckpointer(
    multiprocessing_options=alone()
  ) as checkpointer:
    metadata = checkpointer.metadata(path.absolute())
  tree = getattr(metadata, 'item_metadata', metadata)
  tree = getattr(tree, 'tree', tree)
  return jax.tree.map(lambda m: np.empty(m.shape, m.dtype), tree)
