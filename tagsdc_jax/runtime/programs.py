"""Compiled programs: keeps them on disk, and drops them from memory.

Linux gives a process 65,530 memory mappings unless told otherwise. Every
compiled program takes some, and XLA dies of a segmentation fault beyond that.
"""

import gc
from pathlib import Path

import jax

_MANY_MAPPINGS = 20_000
_MAPPINGS = Path('/proc/self/maps')
_CACHE_DIR = 'jax_compilation_cache_dir'


def keep(folder: Path) -> None:
  """Keeps programs in a folder, unless JAX was told to keep them elsewhere."""
  if getattr(jax.config, _CACHE_DIR) is None:
    jax.config.update(_CACHE_DIR, str(folder))


def drop_if_many() -> None:
  """Drops all programs from memory if they take many mappings.

  Those that are needed again are compiled again, or read from disk.
  """
  try:
    number = _MAPPINGS.read_bytes().count(b'\n')
  except OSError:  # Not Linux.
    return
  if number > _MANY_MAPPINGS:
    jax.clear_caches()
    gc.collect()
