"""Several processes of one run: joining them, and agreeing.

Each process drives the devices of its machine and takes part in every update.
The first one writes all files. Nothing here does anything for one process.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from tagsdc_jax import errors

# Where a scheduler does not tell, these do: all three, or none.
ADDRESS, COUNT, INDEX = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES',
                         'JAX_PROCESS_ID')
# One of the schedulers that JAX knows, e.g. gcetpu on TPU VMs.
CLUSTER = 'TAGSDC_CLUSTER'
# Exit code of a process that ends because another one did.
LEFT_ALONE = 3
# Seconds. Machines of a pod start minutes apart; a process that is silent for
# longer than the second is taken for dead, and all others end.
_START, _SILENCE, _FAREWELL = 300, 30, 30
# Numbers that are gathered at once, so that devices have room for them.
_GATHERED = 2 ** 24
# How the runtime and Gloo say that another process is gone.
_GONE = ('Gloo', 'gloo', 'Connection closed by peer', 'Connection reset',
         'heartbeat', 'coordination service', 'UNAVAILABLE',
         'DEADLINE_EXCEEDED', 'Barrier')


def start() -> None:
  """Joins the other processes of the run, if the environment names any.

  Must come before anything touches a device.

  Raises:
    UserError: if the environment is incomplete, or the others do not come.
  """
  options = find_options(os.environ)
  if options is None or jax.distributed.is_initialized():
    return
  # SIGTERM is ours: see `stopping`.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    jax.distributed.initialize(
        **options, initialization_timeout=_START,
        heartbeat_timeout_seconds=_SILENCE,
        shutdown_timeout_seconds=_FAREWELL)
  except (RuntimeError, ValueError, OSError) as error:
    raise errors.UserError(
        f'the other processes cannot be joined ({_first_line(error)}); start '
        f'all of them with the same {ADDRESS}, host:port of the first one, '
        'within five minutes') from error
  # Gloo gives processes half a minute to meet for the first time: now.
  is_any(False)


def find_options(environment: Mapping[str, str]) -> dict[str, Any] | None:
  """Returns arguments of `jax.distributed.initialize`; None for one process.

  Args:
    environment: as `os.environ`.
  Raises:
    UserError: if it names an impossible process.
  """
  given = {name: environment[name] for name in (ADDRESS, COUNT, INDEX)
           if environment.get(name)}
  if given:
    return _explicit(given)
  if environment.get(CLUSTER):
    return {'cluster_detection_method': environment[CLUSTER]}
  # Set by `srun`; in the batch script itself it counts one task.
  if int(environment.get('SLURM_STEP_NUM_TASKS') or 1) > 1:
    return {'cluster_detection_method': 'slurm'}
  if ',' in environment.get('TPU_WORKER_HOSTNAMES', ''):
    return {'cluster_detection_method': 'gketpu'}
  return None


def _explicit(given: Mapping[str, str]) -> dict[str, Any] | None:
  missing = [name for name in (ADDRESS, COUNT, INDEX) if name not in given]
  if missing:
    raise errors.UserError(
        f'{", ".join(given)} in the environment needs {" and ".join(missing)} '
        'as well: address host:port of the first process, how many processes, '
        'and which one this is, from 0')
  if not given[COUNT].isdecimal() or int(given[COUNT]) < 1:
    raise errors.UserError(f'{COUNT} must be a whole number from 1 on, got '
                           f'{given[COUNT]!r}')
  count = int(given[COUNT])
  if not given[INDEX].isdecimal() or int(given[INDEX]) >= count:
    raise errors.UserError(
        f'{INDEX} must be a whole number from 0 to {count - 1}, got '
        f'{given[INDEX]!r}')
  if not given[ADDRESS].rpartition(':')[2].isdecimal():
    raise errors.UserError(f'{ADDRESS} must be host:port of the first process, '
                           f'got {given[ADDRESS]!r}')
  return None if count == 1 else {
      'coordinator_address': given[ADDRESS], 'num_processes': count,
      'process_id': int(given[INDEX])}


def is_first() -> bool:
  """Returns whether this process is the one that writes files."""
  return jax.process_index() == 0


def is_any(flag: bool) -> bool:
  """Returns whether any process says so; all must ask."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.int32(flag))))


def total(number: int) -> int:
  """Returns the sum over all processes; all must ask, and wait for all."""
  if jax.process_count() == 1:
    return number
  # Two halves: JAX has no integers of 64 bits unless told otherwise.
  halves = np.asarray(multihost_utils.process_allgather(
      np.array(divmod(number, 2**30), np.int32)))
  high, low = halves.sum(axis=0, dtype=np.int64)
  return int(high) * 2**30 + int(low)


def add_up(array: np.ndarray) -> np.ndarray:
  """Returns the sum of every process's array, float32 of one shape."""
  count = jax.process_count()
  if count == 1:
    return array
  pieces = np.array_split(array.reshape(-1),
                          max(1, array.size * count // _GATHERED))
  return np.concatenate([
      np.asarray(multihost_utils.process_allgather(piece)).sum(axis=0)
      for piece in pieces]).reshape(array.shape)


def on_first(action: Callable[[], None]) -> None:
  """Does it in the first process; the others wait, and end if it fails.

  Raises:
    UserError: what went wrong, in the first process.
  """
  failure: errors.UserError | None = None
  if is_first():
    try:
      action()
    except errors.UserError as error:
      failure = error
  if is_any(failure is not None):
    raise failure or LeftAlone('the first process could not go on')


def check_equal(value: int, meaning: str) -> None:
  """Raises UserError unless all processes hold the same number.

  Args:
    value: this process's.
    meaning: for the message.
  """
  if jax.process_count() == 1:
    return
  values = np.asarray(multihost_utils.process_allgather(np.int32(value)))
  if np.any(values != values[0]):
    raise errors.UserError(
        f'{meaning} must be the same in all processes, got {value} in process '
        f'{jax.process_index()} and {values.tolist()} in all; give a '
        '--run-dir on a disk that all machines share')


class LeftAlone(Exception):
  """Another process of the run has ended, and says why itself."""


def is_left_alone(error: BaseException) -> bool:
  """Returns whether an error only says that another process is gone."""
  if isinstance(error, LeftAlone):
    return True
  return (jax.distributed.is_initialized()
          and isinstance(error, (jax.errors.JaxRuntimeError, RuntimeError,
                                 ValueError))
          and any(words in str(error) for words in _GONE))


def leave(code: int) -> int:
  """Returns the exit code; a process of several that failed ends here.

  An ordinary exit would wait for the others, which wait for this one.
  """
  if code and jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code


def _first_line(error: BaseException) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0]
