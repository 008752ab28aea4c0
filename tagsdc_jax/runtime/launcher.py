"""Runs and monitors several local processes: `launch/local_processes.sh`.

  python -m tagsdc_jax.runtime.launcher 2 -- tagsdc train --config world_tags

Starts the command once per process; they communicate over loopback. If one of
them dies or hangs, the others are stopped, and the last line says which one it
was and what happened.
"""

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from tagsdc_jax import environment

environment.import_jax('local_processes')

from tagsdc_jax import arguments  # noqa: E402
from tagsdc_jax.runtime import distributed, preemption, watchdog  # noqa: E402
from tagsdc_jax.settings import kinds  # noqa: E402

# Seconds for the others, once one process has ended, to end by themselves: to
# save their state, or to notice that one is missing.
_ENDED_WELL, _DIED = 60.0, 10.0
_LOOK = 0.1
_MOST = 1024  # Processes, and devices of each.
_DEVICES = '--xla_force_host_platform_device_count'
# How the runtime ends a process when another one is missing.
_ABORTED = -signal.SIGABRT


def run(command: Sequence[str], processes: int, devices: int) -> int:
  """Runs a command in several processes; returns the exit code.

  Args:
    command: the program and its arguments.
    processes: how many to start.
    devices: per process, on the CPU; 0 leaves the devices to JAX.
  Returns:
    0 if all ended well, else 1; then the last line on standard error says
    what happened.
  """
  started: list[subprocess.Popen] = []
  tails: list[collections.deque[str]] = []
  with _stopped(started), _held_port() as port:
    address = f'127.0.0.1:{port}'
    for index in range(processes):
      child = _start(command, address, processes, index, devices)
      started.append(child)
      tails.append(collections.deque(maxlen=40))
      if index:
        threading.Thread(
          target=_keep, args=(child, tails[index]), daemon=True
        ).start()
    codes = _watch(started)
  culprit = _culprit(codes)
  if culprit is None:
    return 0
  if culprit:
    sys.stderr.write(''.join(tails[culprit]))
  print(
    f'process {culprit} of {processes} (numbered from 0) '
    f'{_how(codes[culprit])}; the others were stopped. The last saved '
    'state is intact: run the same command again to continue',
    file=sys.stderr,
    flush=True,
  )
  return 1


def _start(
  command: Sequence[str], address: str, processes: int, index: int, devices: int
) -> subprocess.Popen:
  environment = os.environ | {
    distributed.ADDRESS: address,
    distributed.COUNT: str(processes),
    distributed.INDEX: str(index),
  }
  if devices:
    environment['XLA_FLAGS'] = (
      f'{os.environ.get("XLA_FLAGS", "")} {_DEVICES}={devices}'
    ).strip()
  # Only the first process prints; the output of others is shown if they fail.
  others = (
    {}
    if index == 0
    else {
      'stdout': subprocess.DEVNULL,
      'stderr': subprocess.PIPE,
      'text': True,
      'errors': 'replace',
    }
  )
  return subprocess.Popen(  # type: ignore[call-overload]
    list(command), env=environment, stdin=subprocess.DEVNULL, **others
  )


def _keep(child: subprocess.Popen, tail: collections.deque[str]) -> None:
  assert child.stderr is not None
  with child.stderr:
    tail.extend(child.stderr)


def _watch(children: Sequence[subprocess.Popen]) -> list[int | None]:
  """Returns exit codes when all have ended or time is up; None: it hangs."""
  limit: float | None = None
  has_failed = False
  while True:
    codes = [child.poll() for child in children]
    ended = [code for code in codes if code is not None]
    if len(ended) == len(codes):
      return codes
    if ended and limit is None:
      limit = time.monotonic() + _ENDED_WELL
    if any(ended) and not has_failed:
      has_failed, limit = True, time.monotonic() + _DIED
    if limit is not None and time.monotonic() > limit:
      return codes
    time.sleep(_LOOK)


def _culprit(codes: Sequence[int | None]) -> int | None:
  """Returns the process that failed first; None if all ended well.

  Processes that end because another one is missing have codes of their own.
  """
  followers = (distributed.LEFT_ALONE, _ABORTED)
  ranks = [
    0
    if code not in (None, 0, *followers)
    else 1
    if code is None
    else 2
    if code
    else 3
    for code in codes
  ]
  first = min(range(len(codes)), key=lambda index: ranks[index])
  return None if ranks[first] == 3 else first


def _how(code: int | None) -> str:
  if code is None:
    return 'stopped responding and was killed'
  if code == watchdog.HUNG:
    return 'hung and ended itself, for the reason given above'
  if code < 0:
    return f'was killed by {signal.Signals(-code).name}'
  return f'ended with exit code {code}'


@contextlib.contextmanager
def _stopped(children: list[subprocess.Popen]) -> Iterator[None]:
  """Forwards signals to the processes, and leaves none of them behind.

  Signals that are already ignored, such as SIGHUP under `nohup`, stay ignored.
  """

  def forward(number: int, frame: object) -> None:
    del frame
    for child in children:
      if child.poll() is None:
        child.send_signal(number)

  before = {
    number: signal.signal(number, forward)
    for number in (*preemption.SIGNALS, signal.SIGINT)
    if signal.getsignal(number) not in (signal.SIG_IGN, None)
  }
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
    for child in children:
      if child.poll() is None:
        child.kill()
      child.wait()


@contextlib.contextmanager
def _held_port() -> Iterator[int]:
  """Yields a port that no other program is given inside the block.

  A bound socket that does not listen reserves it; the first process can still
  bind it.
  """
  with socket.socket() as keeper:
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(('127.0.0.1', 0))
    yield keeper.getsockname()[1]


def main(words: Sequence[str] | None = None) -> int:
  """Parses the command line and runs; returns the exit code."""
  parser = arguments.Parser(
    prog='local_processes',
    description='Runs a command in several processes on this machine, as one '
    'run.',
    epilog='example: local_processes 2 --devices 2 -- tagsdc train '
    '--config world_tags --run-dir runs/two',
  )
  parser.add_argument(
    'processes',
    help='number of processes',
    type=arguments.of_kind(kinds.Whole(1, _MOST)),
  )
  parser.add_argument(
    '--devices',
    default=0,
    type=arguments.of_kind(kinds.Whole(0, _MOST)),
    help='CPU devices per process (default: the devices that JAX finds)',
  )
  parser.add_argument(
    '--dry-run', action='store_true', help='only print the commands'
  )
  parser.add_argument('command', nargs='+', help='after --')
  args = parser.parse_args(words)
  if args.dry_run:
    for index in range(args.processes):
      flags = f'XLA_FLAGS={_DEVICES}={args.devices} ' if args.devices else ''
      print(
        f'{distributed.ADDRESS}=127.0.0.1:PORT '
        f'{distributed.COUNT}={args.processes} '
        f'{distributed.INDEX}={index} {flags}{" ".join(args.command)}'
      )
    return 0
  return run(args.command, args.processes, args.devices)


if __name__ == '__main__':
  sys.exit(main())
