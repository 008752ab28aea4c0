"""Stand-ins for modules that the release imports and a machine may lack.

Each is used only if the real module cannot be imported. They implement only
what a single process on a CPU needs.
"""

import importlib
import itertools
import sys
import types
from typing import Any, Dict, Iterable, Iterator, List

import torch

from recorder.problems import Problem

_NEEDED = ('lmdb', 'lz4.frame', 'msgpack', 'msgpack_numpy')


class FusedLayerNorm(torch.nn.LayerNorm):
  """Stands in for apex's; same function and parameter names as torch's."""


class SilentBar:
  """Stands in for tqdm's progress bar; shows nothing."""

  def __init__(self, iterable: Iterable = (), **settings: Any) -> None:
    del settings
    self._iterable = iterable

  def __iter__(self) -> Iterator:
    return iter(self._iterable)

  def update(self, count: int = 1) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


def _unzip(rows: Iterable) -> tuple:
  """Returns the columns of rows."""
  return tuple(zip(*rows))


def _partition_all(size: int, items: Iterable) -> Iterator[tuple]:
  """Yields tuples of `size` items; the last may be shorter."""
  iterator = iter(items)
  return iter(lambda: tuple(itertools.islice(iterator, size)), ())


def _same(value: Any, *others: Any, **settings: Any) -> Any:
  """Returns its first argument: a single process gathers only its own."""
  del others, settings
  return value


def _number(value: int) -> Any:
  return lambda: value


# Module -> what the release uses from it.
_MODULES: Dict[str, Dict[str, Any]] = {
  'apex.normalization.fused_layer_norm': {'FusedLayerNorm': FusedLayerNorm},
  'horovod.torch': {
    'init': lambda: None,
    'size': _number(1),
    'local_size': _number(1),
    'rank': _number(0),
    'local_rank': _number(0),
    'allgather': _same,
    'allreduce_': _same,
    'broadcast_': _same,
  },
  'tensorboardX': {'SummaryWriter': None},
  'tqdm': {'tqdm': SilentBar},
  'toolz.sandbox': {'unzip': _unzip},
  'cytoolz': {
    'concat': itertools.chain.from_iterable,
    'partition_all': _partition_all,
  },
}


def install() -> List[str]:
  """Installs stand-ins; returns the names of the modules they replace.

  Raises:
    Problem: if a module is missing that has no stand-in.
  """
  missing = [name.split('.')[0] for name in _NEEDED if not _works(name, {})]
  if missing:
    raise Problem(
      'the release needs {0}: pip install {0}'.format(
        ' '.join(missing).replace('_', '-')
      )
    )
  stood_in = []
  for name, contents in _MODULES.items():
    if not _works(name, contents):
      _provide(name, contents)
      stood_in.append(name)
  return stood_in


def _works(name: str, contents: Dict[str, Any]) -> bool:
  """Returns whether the real module can be imported and used."""
  try:
    module = importlib.import_module(name)
    for key in contents:
      getattr(module, key)
    if 'FusedLayerNorm' in contents:
      # Its CUDA extension is only imported on use.
      module.FusedLayerNorm(2)(torch.zeros(1, 2))
  except Exception:
    # Broken installations may raise anything.
    return False
  return True


def _provide(name: str, contents: Dict[str, Any]) -> None:
  """Adds a module, and its missing parents, to sys.modules."""
  parts = name.split('.')
  for count in range(1, len(parts)):
    parent = '.'.join(parts[:count])
    if not _works(parent, {}):
      sys.modules[parent] = types.ModuleType(parent)
      sys.modules[parent].__path__ = []  # type: ignore
  module = types.ModuleType(name)
  vars(module).update(contents)
  sys.modules[name] = module
  if len(parts) > 1:
    setattr(sys.modules['.'.join(parts[:-1])], parts[-1], module)
