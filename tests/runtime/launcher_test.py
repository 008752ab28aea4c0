"""Processes on one machine: who died, and that nobody is left."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from tagsdc_jax.runtime import distributed, launcher

INDEX = "index = int(os.environ['JAX_PROCESS_ID'])"


def _command(code):
  return [
    sys.executable,
    '-c',
    'import os, signal, sys, time\n' + INDEX + '\n' + textwrap.dedent(code),
  ]


def _last_line(code, capfd, monkeypatch, processes=3):
  monkeypatch.setattr(launcher, '_DIED', 1.0)
  monkeypatch.setattr(launcher, '_ENDED_WELL', 1.0)
  begun = time.monotonic()
  assert launcher.run(_command(code), processes, 0) == 1
  assert time.monotonic() - begun < 20
  return capfd.readouterr().err.splitlines()[-1]


def test_every_process_knows_its_place(tmp_path, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_a=1')
  code = launcher.run(
    _command(f"""
      names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'XLA_FLAGS')
      with open({str(tmp_path)!r} + f'/{{index}}', 'w') as file:
        file.write(' '.join(os.environ[name] for name in names))
      """),
    2,
    4,
  )
  assert code == 0
  texts = [(tmp_path / str(index)).read_text().split() for index in range(2)]
  assert texts[0] == texts[1]
  assert texts[0][0].startswith('127.0.0.1:')
  assert texts[0][1:] == [
    '2',
    '--xla_a=1',
    '--xla_force_host_platform_device_count=4',
  ]


def test_a_killed_process_is_named(capfd, monkeypatch):
  line = _last_line(
    """
      if index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
      time.sleep(60)
      """,
    capfd,
    monkeypatch,
  )
  assert line.startswith(
    'process 2 of 3 (numbered from 0) was killed by '
    'SIGKILL; the others were stopped.'
  )


def test_those_that_only_follow_are_not(capfd, monkeypatch):
  # The first to end says that another one is missing: the one that hangs.
  line = _last_line(
    """
      if index == 0:
        sys.exit(3)
      if index == 2:
        os.abort()
      signal.signal(signal.SIGTERM, signal.SIG_IGN)
      time.sleep(60)
      """,
    capfd,
    monkeypatch,
  )
  assert line.startswith('process 1 of 3 (numbered from 0) stopped responding')


def test_its_last_words_are_shown(capfd, monkeypatch):
  monkeypatch.setattr(launcher, '_DIED', 1.0)
  assert (
    launcher.run(
      _command("""
      if index == 1:
        print('tagsdc train: no disk', file=sys.stderr)
        sys.exit(2)
      time.sleep(0.2)
      sys.exit(3)
      """),
      2,
      0,
    )
    == 1
  )
  shown = capfd.readouterr().err.splitlines()
  assert shown[-2] == 'tagsdc train: no disk'
  assert 'process 1 of 2 (numbered from 0) ended with exit code 2' in shown[-1]


@pytest.mark.parametrize('number', ['SIGTERM', 'SIGUSR1', 'SIGHUP'])
def test_signals_go_to_all(tmp_path, number):
  number = getattr(signal, number)
  script = _command(f"""
      def leave(number, frame):
        open({str(tmp_path)!r} + f'/left{{index}}', 'w').close()
        sys.exit(0)
      signal.signal({int(number)}, leave)
      open({str(tmp_path)!r} + f'/up{{index}}', 'w').close()
      time.sleep(60)
      """)
  parent = subprocess.Popen(
    [sys.executable, '-m', 'tagsdc_jax.runtime.launcher', '2', '--', *script]
  )
  while not all((tmp_path / f'up{index}').exists() for index in range(2)):
    time.sleep(0.02)
  parent.send_signal(number)
  assert parent.wait(30) == 0
  assert (tmp_path / 'left0').exists() and (tmp_path / 'left1').exists()


def test_the_port_is_kept_for_the_first_process():
  with launcher._held_port() as port:
    # Others do not get it,
    with socket.socket() as other, pytest.raises(OSError):
      other.bind(('127.0.0.1', port))
    # and the first process does, on all addresses.
    distributed._check_coordinator(f'127.0.0.1:{port}', port, None)


def test_dry_run(capsys):
  assert (
    launcher.main(
      [
        '2',
        '--devices',
        '3',
        '--dry-run',
        '--',
        'tagsdc',
        'train',
        '--config',
        'world_tags',
      ]
    )
    == 0
  )
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2
  assert lines[1].endswith(
    'JAX_PROCESS_ID=1 XLA_FLAGS='
    '--xla_force_host_platform_device_count=3 '
    'tagsdc train --config world_tags'
  )


@pytest.mark.parametrize('arguments', [['0', '--', 'x'], ['two', '--', 'x']])
def test_bad_arguments(arguments, capsys):
  with pytest.raises(SystemExit) as stop:
    launcher.main(arguments)
  assert stop.value.code == 2
  assert 'processes' in capsys.readouterr().err
  assert os.environ.get('JAX_PROCESS_ID') is None
