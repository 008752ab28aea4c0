"""Multi-process runs: joining the processes, and collective operations.

Each process drives the devices of its machine and takes part in every update.
The first one writes all files. With a single process, nothing here has any
effect.
"""

import contextlib
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from tagsdc_jax import errors
from tagsdc_jax.runtime import timer

# For runs without a scheduler: set all three, or none.
ADDRESS, COUNT, INDEX = (
  'JAX_COORDINATOR_ADDRESS',
  'JAX_NUM_PROCESSES',
  'JAX_PROCESS_ID',
)
# One of the schedulers that JAX knows, e.g. gcetpu on TPU VMs.
CLUSTER = 'TAGSDC_CLUSTER'
# Optional, read by JAX.
_BIND, _PORT = 'JAX_COORDINATOR_BIND_ADDRESS', 'JAX_COORDINATOR_PORT'
_DEVICES = 'JAX_LOCAL_DEVICE_IDS'
# SLURM variables that JAX reads; all but the last are integers.
_SLURM = (
  'SLURM_JOB_ID',
  'SLURM_NTASKS',
  'SLURM_PROCID',
  'SLURM_LOCALID',
  'SLURM_STEP_NODELIST',
)
_NUMBERS = (*_SLURM[:-1], _PORT, 'JAX_PARTITION_INDEX', 'JAX_SLICE_INDEX')
# Exit code of a process that ends because another one did.
LEFT_ALONE = 3
# Seconds. Machines of a pod start minutes apart; a process that is silent for
# longer than _SILENCE is considered dead, and all others end.
_START, _SILENCE, _FAREWELL = 300, 30, 30
# Seconds for the other processes to exit, too.
_PARTING = 10.0
# Seconds for a machine to resolve its own name, and to connect to itself.
_NAMED, _ANSWERED = 30.0, 5.0
# Numbers to gather at once, limited by device memory.
_GATHERED = 2**24
# In messages of the runtime and Gloo that another process is gone.
_GONE = (
  'Gloo',
  'gloo',
  'Connection closed by peer',
  'Connection reset',
  'heartbeat',
  'coordination service',
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'Barrier',
)


def start() -> None:
  """Joins the other processes of the run, if the environment names any.

  Must be called before any device is used.

  Raises:
    UserError: if the environment is incomplete, or the others do not join.
  """
  options = find_options(os.environ)
  if options is None or jax.distributed.is_initialized():
    return
  # Imported here because launch/bench.sh runs without tqdm.
  from tagsdc_jax.runtime import progress

  check_variables(options, os.environ)
  address = options.get('coordinator_address')
  port = _port_of(options, os.environ)
  if options.get('process_id', os.environ.get('SLURM_PROCID')) in (0, '0'):
    whom = 'the other processes'
    if port is not None:
      _check_coordinator(address, port, os.environ.get(_BIND))
  else:
    whom = 'the first process'
  # SIGTERM is handled in `preemption`.
  jax.config.update('jax_enable_preemption_service', False)
  place = f' at {address}' if address else ''
  failed = f'cannot join the other processes{place}'
  try:
    with (
      progress.waiting(f'waiting for {whom}{place}, at most {_START} s'),
      _ended_after(
        _START,
        f'{failed}: {whom} did not join within {_START} s; {_remedy(options)}',
      ),
    ):
      jax.distributed.initialize(
        **options,
        initialization_timeout=2 * _START,
        heartbeat_timeout_seconds=_SILENCE,
        shutdown_timeout_seconds=_FAREWELL,
      )
  # Detection raises different errors for each scheduler.
  except Exception as error:
    raise errors.UserError(
      f'{failed} ({_first_line(error)}); {_remedy(options)}'
    ) from error
  # Gloo allows half a minute for the first contact, so make it now.
  is_any(False)


@contextlib.contextmanager
def _ended_after(seconds: float, line: str) -> Iterator[None]:
  """Ends the process with one line if the block takes longer.

  The runtime would abort it without one.
  """

  def end() -> None:
    print(f'\ntagsdc: {line}', file=sys.stderr, flush=True)
    os._exit(2)

  with timer.after(seconds, end):
    yield


def find_options(environment: Mapping[str, str]) -> dict[str, Any] | None:
  """Returns arguments of `jax.distributed.initialize`; None for one process.

  Args:
    environment: the variables, as in `os.environ`.
  Raises:
    UserError: if the variables are incomplete or invalid.
  """
  given = {
    name: environment[name]
    for name in (ADDRESS, COUNT, INDEX)
    if environment.get(name)
  }
  if given:
    return _explicit(given)
  if environment.get(CLUSTER):
    return {'cluster_detection_method': environment[CLUSTER]}
  # Set by `srun`; in the batch script itself it is 1.
  tasks = environment.get('SLURM_STEP_NUM_TASKS') or '1'
  if _whole_number('SLURM_STEP_NUM_TASKS', tasks) > 1:
    return {'cluster_detection_method': 'slurm'}
  if ',' in environment.get('TPU_WORKER_HOSTNAMES', ''):
    return {'cluster_detection_method': 'gketpu'}
  return None


def _explicit(given: Mapping[str, str]) -> dict[str, Any] | None:
  missing = [name for name in (ADDRESS, COUNT, INDEX) if name not in given]
  if missing:
    raise errors.UserError(
      f'{", ".join(given)} in the environment needs {" and ".join(missing)} '
      'as well: host:port of the first process, the number of processes, and '
      'the number of this one, from 0'
    )
  count = _whole_number(COUNT, given[COUNT], 1)
  index = _whole_number(INDEX, given[INDEX], 0, count - 1)
  _split(ADDRESS, given[ADDRESS])
  return (
    None
    if count == 1
    else {
      'coordinator_address': given[ADDRESS],
      'num_processes': count,
      'process_id': index,
    }
  )


def check_variables(
  options: Mapping[str, Any], environment: Mapping[str, str]
) -> None:
  """Raises UserError if JAX could not parse the other variables it reads.

  Args:
    options: from `find_options`.
    environment: the variables, as in `os.environ`.
  """
  if options.get('cluster_detection_method') == 'slurm':
    missing = [name for name in _SLURM if not environment.get(name)]
    if missing:
      raise errors.UserError(
        f'{", ".join(missing)} missing from the environment of a SLURM run '
        'with several processes; start them with srun and pass its variables '
        f'on, or set {ADDRESS}, {COUNT} and {INDEX}'
      )
  for name in _NUMBERS:
    if environment.get(name):
      _whole_number(
        name, environment[name], *((1, 65535) if name == _PORT else ())
      )
  for part in environment.get(_DEVICES, '').split(','):
    if part:
      _whole_number(_DEVICES, part)
  if environment.get(_BIND):
    _split(_BIND, environment[_BIND])


def _whole_number(
  name: str, text: str, least: int = 0, most: int | None = None
) -> int:
  """Returns a variable's value; raises UserError if it is not an integer."""
  text = text.strip()
  if (
    text.isascii()
    and text.isdecimal()
    and int(text) >= least
    and (most is None or int(text) <= most)
  ):
    return int(text)
  up_to = 'up' if most is None else f'to {most}'
  raise errors.UserError(
    f'{name} must be a whole number from {least} {up_to}, got {text!r}'
  )


def _split(name: str, address: str) -> tuple[str, int]:
  """Returns a variable's host and port; raises UserError if it has none."""
  host, _, port = address.rpartition(':')
  is_ipv6 = host.startswith('[') and host.endswith(']')
  if (
    not host
    or ':' in host
    and not is_ipv6
    or not (port.isascii() and port.isdecimal())
    or not 1 <= int(port) <= 65535
  ):
    raise errors.UserError(
      f'{name} must be host:port of the first process, with a port from 1 '
      f'to 65535 and an IPv6 address in brackets, got {address!r}'
    )
  return host.strip('[]'), int(port)


def _port_of(
  options: Mapping[str, Any], environment: Mapping[str, str]
) -> int | None:
  """Returns the port on which the first process listens, None if unknown."""
  if 'coordinator_address' in options:
    return _split(ADDRESS, options['coordinator_address'])[1]
  if environment.get(_PORT):
    return int(environment[_PORT])
  if options['cluster_detection_method'] == 'slurm':
    return int(environment['SLURM_JOB_ID']) % 2**12 + 2**16 - 2**12
  return None


def _check_coordinator(
  address: str | None, port: int, bind: str | None
) -> None:
  """Raises UserError unless the other processes can reach this one.

  JAX would crash with a segmentation fault, or wait for the wrong machine.

  Args:
    address: where the others look for it, if known.
    port: the port on which it listens.
    bind: the address and port to bind to, if given.
  """
  host, port = _split(_BIND, bind) if bind else ('::', port)
  is_ipv6 = ':' in host and socket.has_dualstack_ipv6()
  try:
    listener = socket.create_server(
      (host if is_ipv6 or bind else '', port),
      family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
      dualstack_ipv6=is_ipv6,
    )
  except OSError as error:
    raise errors.UserError(
      f'port {port} of this machine, where the other processes look for the '
      f'first one ({address or "as the scheduler says"}), is not available: '
      f'{os.strerror(error.errno or 0)}; stop what uses it, perhaps an '
      f'earlier run, or set another port in {ADDRESS} for all processes'
    ) from error
  with listener:
    reason = address and _astray(_split(ADDRESS, address), listener)
  if reason:
    raise errors.UserError(
      f'{ADDRESS} = {address} does not lead to this machine, which has '
      f'{INDEX} = 0 ({reason}); set it to host:port of the machine that runs '
      'process 0, for all processes'
    )


def _astray(place: tuple[str, int], listener: socket.socket) -> str | None:
  """Returns why connecting to the place misses the listener, or None."""
  end = time.monotonic() + _NAMED
  while True:
    try:
      return (
        None
        if _leads_here(place, listener)
        else 'another machine or program answers'
      )
    except socket.gaierror as error:  # Pods get their DNS names late.
      if time.monotonic() > end:
        return error.strerror
      time.sleep(1)
    except OSError as error:
      return error.strerror or 'no answer'


def _leads_here(place: tuple[str, int], listener: socket.socket) -> bool:
  """Returns whether connecting to the place reaches this listener."""
  word = secrets.token_bytes(16)
  listener.settimeout(_ANSWERED)
  with socket.create_connection(place, _ANSWERED) as client:
    client.sendall(word)
    for _ in range(100):  # The other processes may connect, too.
      try:
        other, _ = listener.accept()
      except TimeoutError:
        return False
      with other, contextlib.suppress(OSError):
        other.settimeout(1.0)
        if other.recv(len(word)) == word:
          return True
  return False


def _remedy(options: Mapping[str, Any]) -> str:
  method = options.get('cluster_detection_method')
  if method is None:
    return (
      f'start all of them with the same {ADDRESS}, host:port of the '
      f'first one, within {_START} s'
    )
  return (
    f'{method} was chosen by the environment ({CLUSTER}, SLURM_... '
    f'or TPU_WORKER_HOSTNAMES): correct that, or set {ADDRESS}, '
    f'{COUNT} and {INDEX}'
  )


def is_first() -> bool:
  """Returns whether this process is the one that writes files."""
  return jax.process_index() == 0


def is_any(flag: bool) -> bool:
  """Returns whether the flag is set in any process; all must call it."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.int32(flag))))


def total(number: int) -> int:
  """Returns the sum over all processes; all must call it, and wait."""
  if jax.process_count() == 1:
    return number
  # In two halves: by default, JAX has no 64-bit integers.
  halves = np.asarray(
    multihost_utils.process_allgather(np.array(divmod(number, 2**30), np.int32))
  )
  high, low = halves.sum(axis=0, dtype=np.int64)
  return int(high) * 2**30 + int(low)


def add_up(array: np.ndarray) -> np.ndarray:
  """Returns the sum over all processes of float32 arrays of equal shape."""
  count = jax.process_count()
  if count == 1:
    return array
  pieces = np.array_split(
    array.reshape(-1), max(1, array.size * count // _GATHERED)
  )
  return np.concatenate(
    [
      np.asarray(multihost_utils.process_allgather(piece)).sum(axis=0)
      for piece in pieces
    ]
  ).reshape(array.shape)


def on_first(action: Callable[[], None]) -> None:
  """Runs an action in the first process; the others wait, and fail with it.

  Raises:
    UserError: from the action, in the first process.
    LeftAlone: in the others.
  """
  failure: errors.UserError | None = None
  if is_first():
    try:
      action()
    except errors.UserError as error:
      failure = error
  if is_any(failure is not None):
    raise failure or LeftAlone('the first process could not continue')


def check_equal(value: int, meaning: str) -> None:
  """Raises UserError unless all processes have the same number.

  Args:
    value: this process's number.
    meaning: what it is, for the message.
  """
  if jax.process_count() == 1:
    return
  values = np.asarray(multihost_utils.process_allgather(np.int32(value)))
  if np.any(values != values[0]):
    raise errors.UserError(
      f'{meaning} must be the same in all processes, got {value} in process '
      f'{jax.process_index()} and {values.tolist()} in all; pass a '
      '--run-dir on a disk that all machines share'
    )


class LeftAlone(Exception):
  """Another process of the run has ended, and reports the reason itself."""


def is_left_alone(error: BaseException) -> bool:
  """Returns whether an error only means that another process is gone."""
  if isinstance(error, LeftAlone):
    return True
  return (
    jax.distributed.is_initialized()
    and isinstance(
      error, (jax.errors.JaxRuntimeError, RuntimeError, ValueError)
    )
    and any(words in str(error) for words in _GONE)
  )


def leave(code: int, is_asked: bool = False) -> int:
  """Returns the exit code; in a multi-process run, exits here after a failure.

  A normal exit would wait for the others, which wait for this process.

  Args:
    code: the exit code.
    is_asked: whether the process was asked to stop. The others may have been,
      too, and get a moment for it: the runtime aborts them if the first
      process exits early.
  """
  if is_asked and jax.distributed.is_initialized():
    with (
      timer.after(_PARTING, lambda: os._exit(code)),
      contextlib.suppress(RuntimeError),
    ):
      jax.distributed.shutdown()
  if code and jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code


def _first_line(error: BaseException) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0]
