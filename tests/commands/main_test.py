"""Tests of the command line: help, bad arguments, errors of the user."""

import pytest

from tagsdc_jax import __version__, errors, main


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
  examples = [line.split()[1:] for line in text.splitlines()
              if line.startswith('  tagsdc ')]
  assert examples
  for words in examples:
    _, rest = parser.parse_known_args(words)
    assert all(word.startswith('--config.') for word in rest)


def test_no_arguments_show_the_help(capsys):
  assert _exit_code([]) == 0
  assert 'Begin with: tagsdc demo' in capsys.readouterr().out


@pytest.mark.parametrize('arguments, message', [
    (['trian'], 'invalid choice'),
    (['--no-such-flag'], 'unknown arguments: --no-such-flag; see --help'),
    (['demo', '--no-such-flag'], '--no-such-flag'),
    (['demo', '--config.seed=1'], '--config.seed=1'),
    (['train', '--config', 'world_tags'], '--run-dir'),
    (['train', '--run-dir', 'x'], '--config'),
    # A value that comes after a space belongs to nothing.
    (['train', '--config', 'world_tags', '--run-dir', 'x', '5'], '5'),
    (['train', '--config', 'world_tags', '--run-dir', 'x',
      '--config.num_updates', '5'], '--config.num_updates=VALUE'),
    (['evaluate', 'x', '--split', 'tset'], 'invalid choice'),
])
def test_bad_arguments(arguments, message, capsys):
  assert _exit_code(arguments) == 2
  shown = capsys.readouterr().err
  assert message in shown
  assert shown.startswith('tagsdc') and shown.count('\n') == 1


@pytest.mark.parametrize('arguments, message', [
    (['train', '--config', 'world_tag', '--run-dir', 'x'],
     'nearest: world_tags'),
    (['train', '--config', 'world_tags', '--run-dir', 'x',
      '--config.optimizer.learnin_rate=1'],
     'nearest: --config.optimizer.learning_rate'),
    (['train', '--config', 'world_tags', '--run-dir', 'x',
      '--config.num_updates=many'], "'many'"),
    (['prepare', '--config', 'coco_base_tags',
      '--config.data.root=nowhere'], 'itm_coco_train.db is missing'),
    (['train', '--config', 'flickr30k_base_tags', '--run-dir', 'x',
      '--config.num_devices=9999'], 'num_devices must be at most'),
    (['evaluate', 'no_such_run'], 'no_such_run must be a run folder'),
    (['evaluate', 'x', '--json', 'no/such.json'],
     'no/such.json cannot be written: folder no is missing'),
    (['evaluate', 'x', '--scores', 'no/such.npy'], 'folder no is missing'),
])
def test_an_error_of_the_user_is_one_line(arguments, message, capsys,
                                          tmp_path, monkeypatch):
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


@pytest.mark.parametrize('error, line', [
    (PermissionError(13, 'Permission denied', 'some/file'),
     'some/file: permission denied; change its owner or mode'),
    (OSError(28, 'No space left on device'), 'no space is left there; free'),
    (MemoryError('no 9 GiB'), 'out of memory (no 9 GiB)'),
])
def test_what_the_system_refuses_is_one_line(error, line, capsys, monkeypatch):
  def fail(args, config):
    raise error
  monkeypatch.setattr(main.COMMANDS['demo'], 'run', fail)
  assert main.main(['demo']) == 2
  shown = capsys.readouterr().err
  assert shown.startswith('tagsdc demo: ') and shown.count('\n') == 1
  assert line in shown


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
  def fail(args, config):
    raise ValueError('a bug')
  monkeypatch.setattr(main.COMMANDS['demo'], 'run', fail)
  with pytest.raises(ValueError, match='a bug'):
    main.main(['demo'])
  assert not issubclass(ValueError, errors.UserError)
