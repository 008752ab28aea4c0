"""Checkpoints from disk to the host, whole or not at all.

Each process reads on its own: no process waits for another.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from tagsdc_jax import errors, files, progress
from tagsdc_jax.training import hashing


def by_update(folder: Path) -> list[Path]:
  """Returns the finished checkpoints of a kind, the newest first.

  Raises:
    UserError: if the folder is there and may not be read.
  """
  with errors.named(folder, 'read'):
    try:
      names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
      return []
  return [folder / name for name in sorted(
      filter(str.isdecimal, names), key=int, reverse=True)]


def first_whole(paths: Sequence[Path], names: tuple[str, ...]
                ) -> tuple[Path, list[Any]] | None:
  """Returns the first that is whole; None if there are no paths.

  Raises:
    UserError: what is wrong with the first, if it is so with all; or that one
      may not be read. That is soon mended, and an older one would be other
      parameters.
  """
  first_error: errors.UserError | None = None
  for path in paths:
    _check_allowed(path, names)
    try:
      content = restore(path, names)
    except errors.UserError as error:
      first_error = first_error or error
      continue
    if first_error is not None:
      print(f'{first_error}; going on from {path}', file=sys.stderr,
            flush=True)
    return path, content
  if first_error is not None:
    raise first_error
  return None


def restore(path: Path, names: tuple[str, ...]) -> list[Any]:
  """Returns the parts of a checkpoint.

  Raises:
    UserError: if one is damaged. Orbax and TensorStore have no common class
      of what they raise then.
  """
  try:
    with progress.waiting(f'reading checkpoint {path}'), ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            composite_options=ocp.CompositeOptions(
                multiprocessing_options=alone())),
        multiprocessing_options=alone()) as checkpointer:
      items = ocp.args.Composite(**{
          name: ocp.args.JsonRestore() if name == 'about' else
          ocp.args.StandardRestore(_abstract(path / name)) for name in names})
      restored = checkpointer.restore(path.absolute(), args=items)
    parts = {name: restored[name] for name in names}
    about = parts.pop('about')
    hashing.check_hashes(about, parts)
  except Exception as error:
    lines = str(error).splitlines() or [type(error).__name__]
    reason = errors.refusal(error) or lines[0].rstrip('.')
    raise errors.UserError(
        f'checkpoint {path} cannot be read: {reason[:300]}') from error
  return [restored[name] for name in names]


def alone() -> ocp.options.MultiprocessingOptions:
  """Returns options with which this process waits for no other one."""
  process = jax.process_index()
  return ocp.options.MultiprocessingOptions(
      primary_host=process, active_processes={process},
      barrier_sync_key_prefix=f'process{process}')


def _check_allowed(path: Path, parts: tuple[str, ...]) -> None:
  """Raises UserError if a file of these parts may not be read, or lies
  elsewhere.

  Orbax takes what it may not read for missing.
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
        f'{error.filename}; change its owner or mode, then give the same '
        'command again') from error
  except OSError:
    return  # `restore` tells.


def _abstract(path: Path) -> Any:
  """Returns numpy placeholders, so that arrays are restored to the host."""
  with ocp.StandardCheckpointer(
      multiprocessing_options=alone()) as checkpointer:
    metadata = checkpointer.metadata(path.absolute())
  tree = getattr(metadata, 'item_metadata', metadata)
  tree = getattr(tree, 'tree', tree)
  return jax.tree.map(lambda m: np.empty(m.shape, m.dtype), tree)
