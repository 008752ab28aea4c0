"""Start-up of several processes, as far as one process can see it."""

import os
import re
import socket
import subprocess
import sys

import jax
import pytest

from tagsdc_jax import errors
from tagsdc_jax.runtime import distributed

FIRST = {
  'JAX_COORDINATOR_ADDRESS': '10.0.0.1:1234',
  'JAX_NUM_PROCESSES': '4',
  'JAX_PROCESS_ID': '3',
}


@pytest.mark.parametrize(
  'environment, options',
  [
    ({}, None),
    ({'JAX_PROCESS_ID': ''}, None),
    (
      FIRST,
      {
        'coordinator_address': '10.0.0.1:1234',
        'num_processes': 4,
        'process_id': 3,
      },
    ),
    (FIRST | {'JAX_NUM_PROCESSES': '1', 'JAX_PROCESS_ID': '0'}, None),
    ({'TAGSDC_CLUSTER': 'gcetpu'}, {'cluster_detection_method': 'gcetpu'}),
    ({'SLURM_STEP_NUM_TASKS': '16'}, {'cluster_detection_method': 'slurm'}),
    ({'SLURM_STEP_NUM_TASKS': '1', 'SLURM_NTASKS': '16'}, None),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, {'cluster_detection_method': 'gketpu'}),
    ({'TPU_WORKER_HOSTNAMES': 'a'}, None),
  ],
)
def test_the_environment_tells(environment, options):
  assert distributed.find_options(environment) == options


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'JAX_PROCESS_ID': ''}, 'needs JAX_PROCESS_ID as well'),
    ({'JAX_PROCESS_ID': '4'}, "from 0 to 3, got '4'"),
    ({'JAX_PROCESS_ID': '-1'}, "from 0 to 3, got '-1'"),
    ({'JAX_NUM_PROCESSES': 'two'}, "from 1 up, got 'two'"),
    ({'JAX_NUM_PROCESSES': '0'}, "from 1 up, got '0'"),
    *[
      (
        {'JAX_COORDINATOR_ADDRESS': address},
        r'JAX_COORDINATOR_ADDRESS must be '
        rf'host:port .* got {re.escape(repr(address))}',
      )
      for address in (
        '10.0.0.1',
        ':1234',
        'host:',
        'host:0',
        'host:65536',
        'host:80x',
        'host:-1',
        'host:²',
        '::1:1234',
        '[::1]',
        'http://host:1234',
      )
    ],
  ],
)
def test_an_impossible_process(changes, message):
  with pytest.raises(errors.UserError, match=message):
    distributed.find_options(FIRST | changes)


@pytest.mark.parametrize('text', ['abc', '-2', '1.5', '²'])
def test_a_number_of_tasks_that_is_none(text):
  with pytest.raises(
    errors.UserError,
    match='SLURM_STEP_NUM_TASKS must be a '
    f'whole number from 0 up, got {text!r}',
  ):
    distributed.find_options({'SLURM_STEP_NUM_TASKS': text})


_SLURM = {
  'SLURM_JOB_ID': '12345',
  'SLURM_NTASKS': '2',
  'SLURM_PROCID': '0',
  'SLURM_LOCALID': '0',
  'SLURM_STEP_NODELIST': 'node[1-2]',
}


@pytest.mark.parametrize(
  'options, changes, message',
  [
    *[
      ('slurm', {name: ''}, f'^{name} missing from the environment of a SLURM')
      for name in _SLURM
    ],
    *[
      ('slurm', {name: value}, f'{name} must be a whole number .* {value!r}')
      for name in (
        'SLURM_JOB_ID',
        'SLURM_NTASKS',
        'SLURM_PROCID',
        'SLURM_LOCALID',
      )
      for value in ('x', '-1')
    ],
    *[
      (None, {name: 'x'}, f"{name} must be a whole number .* got 'x'")
      for name in (
        'SLURM_LOCALID',
        'JAX_PARTITION_INDEX',
        'JAX_LOCAL_DEVICE_IDS',
      )
    ],
    (None, {'JAX_LOCAL_DEVICE_IDS': '0,b'}, "IDS must be .* got 'b'"),
    (None, {'JAX_COORDINATOR_PORT': '70000'}, "from 1 to 65535, got '70000'"),
    (None, {'JAX_COORDINATOR_BIND_ADDRESS': 'x'}, 'BIND_ADDRESS must be host'),
  ],
)
def test_what_jax_could_not_read(options, changes, message):
  asked = {'cluster_detection_method': options} if options else {}
  distributed.check_variables(asked, _SLURM)
  with pytest.raises(errors.UserError, match=message):
    distributed.check_variables(asked, _SLURM | changes)


def _free_port():
  with socket.create_server(('127.0.0.1', 0)) as server:
    return server.getsockname()[1]


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '[::1]'])
def test_a_first_process_that_others_find(host):
  if host == '[::1]' and not socket.has_dualstack_ipv6():
    pytest.skip('no IPv6 here')
  port = _free_port()
  distributed._check_coordinator(f'{host}:{port}', port, None)
  distributed._check_coordinator(f'{host}:{port}', port, f'{host}:{port}')


def test_a_port_that_is_taken():
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
    for address in (f'127.0.0.1:{port}', None):
      with pytest.raises(
        errors.UserError,
        match=f'port {port} of this machine,'
        ' .* is not available: Address already in use; stop what '
        '.* another port in JAX_COORDINATOR_ADDRESS',
      ):
        distributed._check_coordinator(address, port, None)


@pytest.mark.parametrize(
  'host, reason', [('192.0.2.1', '.*'), ('no.such.host.invalid', '.*')]
)
def test_an_address_of_another_machine(host, reason, monkeypatch):
  monkeypatch.setattr(distributed, '_NAMED', 0.1)
  monkeypatch.setattr(distributed, '_ANSWERED', 0.3)
  port = _free_port()
  with pytest.raises(
    errors.UserError,
    match=f'JAX_COORDINATOR_ADDRESS = {host}'
    f':{port} does not lead to this machine, which has '
    f'JAX_PROCESS_ID = 0 .{reason}',
  ):
    distributed._check_coordinator(f'{host}:{port}', port, None)


def test_an_address_where_another_program_answers(monkeypatch):
  monkeypatch.setattr(distributed, '_ANSWERED', 0.3)
  with socket.create_server(('127.0.0.1', 0)) as server:
    with pytest.raises(
      errors.UserError, match='another machine or program answers'
    ):
      distributed._check_coordinator(
        f'127.0.0.1:{server.getsockname()[1]}', _free_port(), None
      )


def test_who_waits_in_vain_says_for_whom():
  address = f'127.0.0.1:{_free_port()}'
  code = """if True:
      from tagsdc_jax.runtime import distributed
      distributed._START = 3
      distributed.start()
      """
  ended = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    check=False,
    timeout=60,
    env=os.environ | FIRST | {'JAX_COORDINATOR_ADDRESS': address},
  )
  assert ended.returncode == 2
  first, last = ended.stderr.splitlines()
  assert first.startswith(f'waiting for the first process at {address}')
  assert last.startswith(
    f'tagsdc: cannot join the other processes at {address}: the first '
    'process did not join within 3 s; start all of them'
  )


def test_one_process_waits_for_nobody():
  assert distributed.is_first()
  assert distributed.is_any(True) and not distributed.is_any(False)
  done = []
  distributed.on_first(lambda: done.append(1))
  assert done == [1]
  distributed.check_equal(3, 'the update')

  def refuse():
    raise errors.UserError('no')

  with pytest.raises(errors.UserError, match='no'):
    distributed.on_first(refuse)
  assert distributed.leave(2) == 2


def test_what_says_that_another_process_is_gone(monkeypatch):
  lost = jax.errors.JaxRuntimeError(
    'FAILED_PRECONDITION: Gloo AllReduce failed: Connection closed by peer'
  )
  assert not distributed.is_left_alone(lost)  # Of a run of one process.
  monkeypatch.setattr(jax.distributed, 'is_initialized', lambda: True)
  assert distributed.is_left_alone(lost)
  assert distributed.is_left_alone(distributed.LeftAlone('gone'))
  assert not distributed.is_left_alone(ValueError('a bug'))
