"""Tests of the command line: help, bad arguments, errors of the user."""

import io
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tagsdc_jax import __version__, errors, main
from tagsdc_jax.runtime import preemption


def _exit_code(arguments):
  """Runs `main` and returns its code, also where argparse exits itself."""
  try:
    return main.main(arguments)
  except SystemExit as stop:
    return stop.code


def test_help_lists_every_command(capsys):
  assert _exit_code(['--help']) == 0
  shown = capsys.readouterr().out
  assert all(name in shown for name in main.COMMANDS)
  assert 'tagsdc demo' in shown


def test_version(capsys):
  assert _exit_code(['--version']) == 0
  assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize('name', main.COMMANDS)
def test_help_of_a_command_shows_examples(name, capsys):
  assert _exit_code([name, '--help']) == 0
  shown = capsys.readouterr().out
  assert 'examples:' in shown
  assert f'\n  tagsdc {name}' in shown


@pytest.mark.parametrize('name', main.COMMANDS)
def test_examples_parse(name):
  parser = main.make_parser()
  text = main.COMMANDS[name].EXAMPLES.replace('\\\n', ' ')
  examples = [
    shlex.split(line)[1:]
    for line in text.splitlines()
    if line.startswith('  tagsdc ')
  ]
  assert examples
  for words in examples:
    _, rest = parser.parse_known_args(words)
    assert all(word.startswith('--config.') for word in rest)


def test_no_arguments_show_the_help(capsys):
  assert _exit_code([]) == 0
  assert 'Begin with: tagsdc demo' in capsys.readouterr().out


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['trian'], 'invalid choice'),
    (['--no-such-flag'], 'unknown arguments: --no-such-flag; see --help'),
    (['demo', '--no-such-flag'], '--no-such-flag'),
    (['demo', '--config.seed=1'], '--config.seed=1'),
    (['train', '--config', 'world_tags'], '--run-dir'),
    (['train', '--run-dir', 'x'], '--config'),
    # A value that comes after a space belongs to nothing.
    (['train', '--config', 'world_tags', '--run-dir', 'x', '5'], '5'),
    (
      [
        'train',
        '--config',
        'world_tags',
        '--run-dir',
        'x',
        '--config.num_updates',
        '5',
      ],
      '--config.num_updates=VALUE',
    ),
    (['evaluate', 'x', '--split', 'tset'], 'invalid choice'),
  ],
)
def test_bad_arguments(arguments, message, capsys):
  assert _exit_code(arguments) == 2
  shown = capsys.readouterr().err
  assert message in shown
  assert shown.startswith('tagsdc') and shown.count('\n') == 1


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      ['train', '--config', 'world_tag', '--run-dir', 'x'],
      'nearest: world_tags',
    ),
    (
      [
        'train',
        '--config',
        'world_tags',
        '--run-dir',
        'x',
        '--config.optimizer.learnin_rate=1',
      ],
      'nearest: --config.optimizer.learning_rate',
    ),
    (
      [
        'train',
        '--config',
        'world_tags',
        '--run-dir',
        'x',
        '--config.num_updates=many',
      ],
      "'many'",
    ),
    (
      ['prepare', '--config', 'coco_base_tags', '--config.data.root=nowhere'],
      'itm_coco_train.db is missing',
    ),
    (
      [
        'train',
        '--config',
        'flickr30k_base_tags',
        '--run-dir',
        'x',
        '--config.init_from=fresh',
        '--config.num_devices=9999',
      ],
      'num_devices must be at most',
    ),
    (['evaluate', 'no_such_run'], 'no_such_run must be a run folder'),
    (
      ['evaluate', 'x', '--json', 'no/such.json'],
      'no/such.json cannot be written: folder no is missing',
    ),
    (['evaluate', 'x', '--scores', 'no/such.npy'], 'folder no is missing'),
  ],
)
def test_an_error_of_the_user_is_one_line(
  arguments, message, capsys, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert _exit_code(arguments) == 2
  shown = capsys.readouterr()
  assert not shown.out
  assert message in shown.err
  assert shown.err.startswith(f'tagsdc {arguments[0]}: ')
  assert shown.err.count('\n') == 1
  assert not any(tmp_path.iterdir())  # Nothing was begun.


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
  def interrupt(args, config):
    raise KeyboardInterrupt

  monkeypatch.setattr(main.COMMANDS['demo'], 'run', interrupt)
  assert main.main(['demo']) == 130
  assert 'run the same command again' in capsys.readouterr().err


@pytest.mark.parametrize(
  'error, line',
  [
    (
      PermissionError(13, 'Permission denied', 'some/file'),
      'some/file: permission denied; change its owner or mode',
    ),
    (
      OSError(28, 'No space left on device'),
      'standard output or a file: no space is left there; free',
    ),
    (MemoryError('no 9 GiB'), 'out of memory (no 9 GiB)'),
  ],
)
def test_what_the_system_refuses_is_one_line(error, line, capsys, monkeypatch):
  def fail(args, config):
    raise error

  monkeypatch.setattr(main.COMMANDS['demo'], 'run', fail)
  assert main.main(['demo']) == 2
  shown = capsys.readouterr().err
  assert shown.startswith('tagsdc demo: ') and shown.count('\n') == 1
  assert line in shown


def test_warnings_that_are_made_errors_are_a_line(capsys, monkeypatch):
  def fail(args, config):
    raise DeprecationWarning('old')

  monkeypatch.setattr(main.COMMANDS['demo'], 'run', fail)
  assert main.main(['demo']) == 2
  assert (
    'PYTHONWARNINGS or -W turns warnings into errors' in capsys.readouterr().err
  )


def test_a_name_that_the_encoding_lacks_is_shown(monkeypatch):
  monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(io.BytesIO(), 'ascii'))
  monkeypatch.setattr(
    main.COMMANDS['demo'], 'run', lambda args, config: print('runs/\xfc')
  )
  assert main.main(['demo']) == 0
  sys.stdout.flush()
  assert sys.stdout.buffer.getvalue() == b'runs/\\xfc\n'


@pytest.mark.parametrize(
  'name, code',
  [
    ('train', 75),
    ('evaluate', 75),
    ('demo', 75),
    ('prepare', 75),
    # What cannot go on where it was has not done its work.
    ('convert', 128 + signal.SIGTERM),
    ('compare', 128 + signal.SIGTERM),
    ('report', 128 + signal.SIGTERM),
  ],
)
def test_every_command_may_be_asked_to_leave(name, code, capsys, monkeypatch):
  def run(args, config):
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError

  monkeypatch.setenv('TAGSDC_STOPPED_CODE', '75')
  monkeypatch.setattr(main.COMMANDS[name], 'run', run)
  arguments = {
    'train': ['--config', 'world_tags', '--run-dir', 'x'],
    'prepare': ['--config', 'world_tags'],
    'demo': [],
    'convert': ['x', 'y'],
  }.get(name, ['x'])
  before = signal.getsignal(signal.SIGTERM)
  try:
    assert main.main([name, *arguments]) == code
  finally:
    signal.signal(signal.SIGTERM, before)
    for number in preemption.SIGNALS[1:]:
      signal.signal(number, signal.SIG_DFL)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'tagsdc {name}: asked to stop; run the same ')


def _process(code):
  """Runs a process whose `tagsdc demo` is `run()` of the code."""
  begun = time.monotonic()
  ended = subprocess.run(
    [
      sys.executable,
      '-c',
      textwrap.dedent("""
      import atexit, os, signal, sys, threading, time
      from tagsdc_jax import main
      def run(*unused):
      """)
      + textwrap.indent(textwrap.dedent(code), '  ')
      + textwrap.dedent("""
      main.demo.run = run
      sys.argv = ['tagsdc', 'demo']
      sys.exit(main.main())
      """),
    ],
    capture_output=True,
    text=True,
    check=False,
    timeout=100,
  )
  return ended, time.monotonic() - begun


@pytest.mark.parametrize('name, code', [('SIGTERM', 0), ('SIGINT', 130)])
def test_who_is_broken_off_waits_for_no_compilation(name, code):
  ended, seconds = _process(f"""
      threading.Thread(target=time.sleep, args=(80,)).start()
      os.kill(os.getpid(), signal.{name})
      time.sleep(1)
      """)
  assert ended.returncode == code, ended.stderr
  assert ended.stderr.startswith('tagsdc demo: ') and seconds < 70


def test_signals_after_the_work_leave_the_exit_code():
  ended, _ = _process("""
      atexit.register(os.kill, os.getpid(), signal.SIGTERM)
      return 3
      """)
  assert ended.returncode == 3, ended.stderr


class _Full(io.StringIO):
  def write(self, text):
    raise OSError(28, 'No space left on device')


def test_the_exit_code_needs_no_reader(monkeypatch):
  def interrupt(args, config):
    raise KeyboardInterrupt

  monkeypatch.setattr(main.COMMANDS['demo'], 'run', interrupt)
  monkeypatch.setattr(sys, 'stderr', _Full())
  assert main.main(['demo']) == 130


def test_an_exit_code_that_cannot_be_is_told_before_the_work(
  capsys, monkeypatch
):
  monkeypatch.setenv('TAGSDC_STOPPED_CODE', '300')
  monkeypatch.setattr(main.COMMANDS['demo'], 'run', None)
  assert main.main(['demo']) == 2
  assert "from 0 to 255, got '300'" in capsys.readouterr().err


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
  def fail(args, config):
    raise ValueError('a bug')

  monkeypatch.setattr(main.COMMANDS['demo'], 'run', fail)
  with pytest.raises(ValueError, match='a bug'):
    main.main(['demo'])
  assert not issubclass(ValueError, errors.UserError)
