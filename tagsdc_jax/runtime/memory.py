"""Out-of-memory errors: predicted, or turned into one line with a remedy.

Every message names the settings to lower, with their new values.
"""

import math
import os
import re
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tagsdc_jax import errors, settings
from tagsdc_jax.runtime import parallel

TRAINING, SCORING = 'training', 'scoring'
# Updates, or slices of them, in host memory besides the prefetched ones: the
# one being assembled, and the one that the devices are working on.
_HELD = 2
# Settings to lower, largest effect first.
_ON_DEVICE = {
  'pretrain': (
    'batch.positives',
    'negatives.num_copies',
    'compute.target_chunk',
  ),
  'tags': (
    'batch.positives',
    'negatives.num_hard',
    'negatives.num_copies',
    'negatives.pool_size',
    'compute.score_tokens',
    'compute.gradient_tokens',
    'compute.target_chunk',
  ),
}
_ON_DEVICE['dc'] = _ON_DEVICE['tags']
_ON_HOST = (
  'negatives.pool_size',
  'batch.positives',
  'batch.micro_batches',
  'data.num_prefetched',
)
_IN_NETWORK = (
  'model.hidden_size',
  'model.num_layers',
  'model.intermediate_size',
  'model.max_positions',
)
_IN_SCORING = ('evaluation.tile_texts', 'evaluation.tile_images')

_UNITS = {'': 1, 'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}
_AMOUNT = r'([\d.]+) ?([KMGT]?)'
# In messages of XLA on TPU, and of XLA and numpy elsewhere.
_USED_OF = re.compile(f'Used {_AMOUNT} of {_AMOUNT}')
_ASKED = re.compile(f'allocat(?:e|ing) (?:request for )?{_AMOUNT}')


@contextmanager
def explained(
  config: settings.Settings, doing: str, devices: Sequence[jax.Device]
) -> Iterator[None]:
  """Raises UserError if host or device memory runs out inside the block.

  Args:
    config: all settings, the basis of the advice.
    doing: TRAINING or SCORING.
    devices: this process's.
  """
  try:
    yield
  except MemoryError as error:
    raise _too_little(
      config, doing, _requested(str(error)), host_memory(), _on_host(config)
    ) from error
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    needed, limit = _needed_and_limit(str(error), devices)
    raise _too_little(
      config, doing, needed, limit, _on_device(config, doing)
    ) from error


def check_network(
  config: settings.Settings, parameters: Any, needs_start: bool = False
) -> None:
  """Raises UserError if parameters and optimizer exceed the host's memory.

  Args:
    config: all settings.
    parameters: their shapes.
    needs_start: whether the phase's initial parameters are kept as well.
  """
  # The parameters, and two moments of each.
  needed = (3 + needs_start) * _num_bytes(parameters)
  limit = host_memory()
  if limit is not None and needed > limit:
    raise _too_little(
      config, 'the network with its optimizer', needed, limit, _IN_NETWORK
    )


def check_inputs(config: settings.Settings, batch: Any, cached: int) -> None:
  """Raises UserError if the inputs will exceed the host's memory.

  Linux would kill the process without a message.

  Args:
    config: all settings.
    batch: shapes of an update's inputs or a slice of them, for all devices.
    cached: bytes of the training split's region features, decoded.
  """
  inputs = _num_bytes(batch)
  needed = (_HELD + config.data.num_prefetched) * inputs
  if _caches(config):
    needed += cached
  limit = host_memory()
  if limit is not None and needed > limit:
    raise _too_little(
      config,
      f'holding inputs of {_gib(inputs)} each',
      needed,
      limit,
      _on_host(config),
    )


def check_program(
  config: settings.Settings, program: Any, devices: Sequence[jax.Device]
) -> None:
  """Raises UserError if the compiled train step exceeds device memory.

  Args:
    config: all settings.
    program: see `parallel.compile_step`.
    devices: this process's.
  """
  needed = parallel.program_memory(program)
  if devices[0].platform == 'cpu':  # They share the host's memory.
    needed *= len(devices)
  limit = device_memory(devices)
  if limit is not None and needed > limit:
    raise _too_little(
      config, 'the train step', needed, limit, _on_device(config, TRAINING)
    )


def device_memory(devices: Sequence[jax.Device]) -> int | None:
  """Returns the bytes that a device offers, None if it does not report it."""
  if devices[0].platform == 'cpu':
    return host_memory()
  return (devices[0].memory_stats() or {}).get('bytes_limit')


def host_memory() -> int | None:
  """Returns the bytes that a process can still allocate, None if unknown."""
  found = []
  try:
    rows = dict(
      line.split(':')
      for line in Path('/proc/meminfo').read_text('ascii').splitlines()
    )
    found.append(
      sum(
        int(rows[name].split()[0]) * 1024
        for name in ('MemAvailable', 'SwapFree')
      )
    )
  except (OSError, ValueError, KeyError):
    if 'SC_PHYS_PAGES' in os.sysconf_names:
      found.append(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
  try:  # The limit of a container or a job.
    found.append(int(Path('/sys/fs/cgroup/memory.max').read_text('ascii')))
  except (OSError, ValueError):
    pass
  of_process = resource.getrlimit(resource.RLIMIT_AS)[0]  # `ulimit -v`
  if of_process != resource.RLIM_INFINITY:
    found.append(of_process)
  return min(found, default=None)


def _num_bytes(shapes: Any) -> int:
  return sum(
    math.prod(x.shape) * np.dtype(x.dtype).itemsize
    for x in jax.tree.leaves(shapes)
  )


def _on_device(config: settings.Settings, doing: str) -> Sequence[str]:
  return _IN_SCORING if doing == SCORING else _ON_DEVICE[config.phase]


def _on_host(config: settings.Settings) -> Sequence[str]:
  return _ON_HOST[1:] if config.phase == 'pretrain' else _ON_HOST


def _caches(config: settings.Settings) -> bool:
  # The embedded world is always in memory.
  return config.data.cache_regions and config.data.source != 'world'


def _too_little(
  config: settings.Settings,
  doing: str,
  needed: float | None,
  limit: float | None,
  names: Sequence[str],
) -> errors.UserError:
  """Returns the error: what is needed, what is available, what to lower."""
  factor, numbers = 1.0, 'more than is available'
  if needed and limit:
    factor = needed / limit
    numbers = f'{_gib(needed)}, but {_gib(limit)} are available'
  elif limit:
    numbers = f'more than the {_gib(limit)} available'
  lowered = _lowered(config, names, factor)
  remedies = [f'lower one or more of {", ".join(lowered)}'] if lowered else []
  if names in _ON_DEVICE.values() and config.compute.dtype != 'bfloat16':
    remedies.append('compute.dtype=bfloat16 halves the activations')
  if names in _ON_DEVICE.values() and not config.compute.recompute_layers:
    remedies.append('compute.recompute_layers=true stores fewer activations')
  if (
    doing != SCORING
    and names != _IN_NETWORK
    and config.batch.micro_batches > 1
    and config.compute.micro_batches_at_once != 1
  ):
    remedies.append('compute.micro_batches_at_once=1 sends inputs in slices')
  if 'data.num_prefetched' in names and _caches(config):
    remedies.append('data.cache_regions=false caches no region features')
  return errors.UserError(
    f'out of memory: {doing} needs {numbers}; '
    + ('; '.join(remedies) or 'use a machine with more memory')
  )


def _lowered(
  config: settings.Settings, names: Sequence[str], factor: float
) -> list[str]:
  """Returns "NAME from VALUE to LESS", divided by a power of two >= factor."""
  flat = settings.flatten(config)
  divisor = 2 ** max(1, math.ceil(math.log2(factor))) if factor > 1 else 2
  least = {'data.num_prefetched': 0, 'model.max_positions': 3}
  if config.phase == 'pretrain':  # Each is paired with num_in_batch others.
    least['batch.positives'] = config.negatives.num_in_batch + 1
  parts = []
  for name in names:
    value: Any = flat[name]
    lower = max(least.get(name, 1), value // divisor)
    if lower < value:
      parts.append(f'{name} from {value} to {lower}')
  return parts


def _needed_and_limit(
  text: str, devices: Sequence[jax.Device]
) -> tuple[float | None, float | None]:
  """Returns the bytes needed and available, as far as XLA's error says."""
  match = _USED_OF.search(text)
  if match:
    return _bytes(match[1], match[2]), _bytes(match[3], match[4])
  requested, limit = _requested(text), device_memory(devices)
  if devices[0].platform != 'cpu' and requested:
    # The failed allocation comes on top of the others.
    requested += (devices[0].memory_stats() or {}).get('peak_bytes_in_use', 0)
  return requested, limit


def _requested(text: str) -> float | None:
  match = _ASKED.search(text)
  return None if match is None else _bytes(match[1], match[2])


def _bytes(number: str, unit: str) -> float:
  return float(number) * _UNITS[unit]


def _gib(size: float) -> str:
  return f'{size / 2**30:,.1f} GiB'
