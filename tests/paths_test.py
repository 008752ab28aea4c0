"""Paths: `~` is expanded everywhere, other machines' are refused everywhere."""

import argparse
import itertools
import os
from pathlib import Path

import pytest

from tagsdc_jax import errors, main, paths, settings, shipped
from tagsdc_jax.commands import configs
from tagsdc_jax.data import captions
from tagsdc_jax.runtime import launcher
from tagsdc_jax.settings import kinds

REMOTE = (
  'gs://bucket/runs',
  's3://bucket/a',
  'hdfs://host:9000/a',
  'https://example.org/a',
  'GS://bucket',
  'file:///tmp/a',
  'svn+ssh://a/b',
)
PATH_SETTINGS = [
  name
  for name, setting in settings.ALL.items()
  if isinstance(getattr(setting.kind, 'of', setting.kind), kinds.LocalPath)
]


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))


@pytest.mark.parametrize(
  'text, path',
  [
    ('a/b', 'a/b'),
    ('/a', '/a'),
    ('~', '<>'),
    ('~/a', '<>/a'),
    ('~root/a', os.path.expanduser('~root/a')),
    ('a/~/b', 'a/~/b'),
    ('./~', './~'),
    ('$HOME/a', '$HOME/a'),
    ('gs:/a', 'gs:/a'),
    ('a://b'[1:], '://b'),
    ('1a://b', '1a://b'),
    ('a b', 'a b'),
    ('shipped:world_pretrain', 'shipped:world_pretrain'),
  ],
)
def test_what_a_path_means(text, path, tmp_path):
  assert paths.expanded(text) == path.replace('<>', str(tmp_path))
  assert paths.local(text) == Path(path.replace('<>', str(tmp_path)))


@pytest.mark.parametrize(
  'text, message',
  [
    *(
      (
        text,
        f'{text.partition(":")[0]}:// is not supported: mount '
        'it (a bucket, for example, with gcsfuse) and give the path',
      )
      for text in REMOTE
      if not text.startswith('file')
    ),
    ('file:///tmp/a', 'leave out file://'),
    ('', 'it is empty'),
    ('a\0b', 'NUL'),
    ('~no_such_user/a', 'no home folder ~no_such_user; pass ./~no_such_user/a'),
    ('x' * 256, 'a name may have at most 255 bytes'),
    ('é' * 128, '255 bytes'),
    ('a/' * 2100, 'a path 4095'),
    ('\ud800', 'file names cannot have'),
  ],
)
def test_what_is_no_path_of_this_machine(text, message):
  with pytest.raises(errors.UserError) as caught:
    paths.local(text)
  assert message in str(caught.value)
  assert len(str(caught.value)) < 400


def test_no_home(monkeypatch):
  monkeypatch.setenv('HOME', '')
  with pytest.raises(errors.UserError, match='HOME is empty'):
    paths.local('~/a')


def test_a_folder_and_a_file(tmp_path):
  (tmp_path / 'file').write_text('')
  assert paths.folder('~/new') == tmp_path / 'new'
  assert paths.folder('~') == tmp_path
  assert paths.file('~/file') == tmp_path / 'file'
  for below in ('file', 'file/a/b'):
    with pytest.raises(
      errors.UserError,
      match=f'{below} cannot be used as a '
      f'folder: {tmp_path}/file is a file; pass another',
    ):
      paths.folder(f'~/{below}')
  with pytest.raises(errors.UserError, match='must be a file, but is a folder'):
    paths.file('~')
  with pytest.raises(errors.UserError, match='must be a file, but is missing'):
    paths.file('~/new')
  os.mkfifo(tmp_path / 'pipe')
  with pytest.raises(errors.UserError, match='but is a pipe or a device'):
    paths.file('~/pipe')


def _path_options(parser, words=()):
  """Yields (the command's words, the option) of all that take paths."""
  for action in parser._actions:
    if isinstance(action, argparse._SubParsersAction):
      for name, command in action.choices.items():
        yield from _path_options(command, (*words, name))
    elif getattr(action.type, '__module__', '') == 'tagsdc_jax.arguments' and (
      action.type.__name__ in ('path', 'folder', 'location')
    ):
      yield words, action


OPTIONS = list(_path_options(main.make_parser()))


def test_every_option_that_names_a_path_is_found():
  found = {
    (words[0], (action.option_strings or [action.dest])[0])
    for words, action in OPTIONS
  }
  assert found == {
    ('demo', '--run-dir'),
    ('prepare', 'out'),
    ('prepare', '--vocabulary'),
    ('prepare', '--regions'),
    ('prepare', '--images'),
    ('prepare', '--encoder'),
    ('prepare', '--detector'),
    ('train', '--run-dir'),
    ('evaluate', 'model'),
    ('evaluate', '--json'),
    ('evaluate', '--scores'),
    ('evaluate', '--first-pass'),
    ('evaluate', '--work-dir'),
    ('check', 'model'),
    ('check', '--file'),
    ('check', '--json'),
    ('check', '--encoder'),
    ('check', '--detector'),
    ('compare', 'folder'),
    ('compare', '--json'),
    ('convert', 'source'),
    ('convert', 'target'),
    ('convert', '--model-config'),
    ('export', 'negatives'),
    ('export', 'out'),
    ('export', '--images'),
    ('report', 'run_dir'),
    ('study', '--out'),
    ('study', '--judge'),
    ('foils', 'model'),
    ('foils', 'files'),
    ('foils', '--data'),
    ('foils', '--vocabulary'),
    ('foils', '--json'),
    ('foils', '--page'),
    ('foils', '--write'),
    ('generate', 'model'),
    ('generate', 'out'),
    ('generate', '--captions'),
    ('generate', '--start'),
    ('generate', '--judge'),
    ('generate', '--images'),
  }


def test_no_option_takes_a_path_of_its_own():
  for module in (
    Path(main.__file__).parent,
    Path(main.__file__).parents[1] / 'launch',
  ):
    for source in module.rglob('*.py'):
      if 'record_release' not in source.parts:  # Needs nothing of ours.
        assert 'type=Path' not in source.read_text('utf-8'), source


def _refused(words, capsys):
  """Runs a command that must end at once with one line; returns the line."""
  try:
    code = main.main(list(words))
  except SystemExit as stop:
    code = stop.code
  shown = capsys.readouterr()
  assert code == 2 and not shown.out
  assert shown.err.startswith(f'tagsdc {words[0]}: ')
  assert shown.err.count('\n') == 1
  return shown.err


@pytest.mark.parametrize('words, action', OPTIONS)
def test_every_option_refuses_what_is_elsewhere(
  words, action, capsys, monkeypatch, tmp_path
):
  monkeypatch.chdir(tmp_path)
  needed = {
    'train': ['--config', 'world_tags', '--run-dir', 'x'],
    'evaluate': ['x'],
    'check': ['x'],
    'compare': ['x'],
    'convert': ['x', 'y'],
    'export': ['x', 'y', '--format', 'negclip'],
    'report': ['x'],
    'demo': [],
    'prepare': [],
    'study': ['ablation', '--out', 'x'],
    'foils': ['x'],
    'generate': ['x', 'y'],
  }[words[0]]
  for text in (*REMOTE, '', '~no_such_user/x', 'a\0b'):
    given = (
      [*needed, action.option_strings[0], text]
      if action.option_strings
      else {
        ('convert', 'source'): [text, 'y'],
        ('convert', 'target'): ['x', text],
        ('export', 'negatives'): [text, *needed[1:]],
        ('export', 'out'): ['x', text, *needed[2:]],
        ('foils', 'files'): ['x', text],
      }.get((words[0], action.dest), [text])
    )
    line = _refused([*words, *given], capsys)
    assert 'cannot be used as a path' in line
    assert ascii(text)[1:-1].replace('\\', '') in line.replace('\\', '')
  assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('command', ['train', 'prepare', 'convert'])
@pytest.mark.parametrize('name', PATH_SETTINGS)
def test_every_setting_refuses_what_is_elsewhere(
  name, command, capsys, monkeypatch, tmp_path
):
  monkeypatch.chdir(tmp_path)
  more = {'train': ['--run-dir', 'x'], 'prepare': [], 'convert': ['a', 'b']}
  line = _refused(
    [
      command,
      *more[command],
      '--config',
      'own_small_tags',
      f'--config.{name}=gs://bucket/x',
    ],
    capsys,
  )
  assert f'--config.{name} must be a path on this machine' in line
  assert "got 'gs://bucket/x': gs:// is not supported" in line
  assert not any(tmp_path.iterdir())


def test_which_settings_are_paths():
  assert set(PATH_SETTINGS) == {
    'extensions',
    'init_from',
    'data.root',
    'data.vocabulary',
    *(
      f'data.{split}_{what}'
      for split, what in itertools.product(
        ('train', 'validation', 'test'), ('text', 'images')
      )
    ),
  }


@pytest.mark.parametrize('name', PATH_SETTINGS)
def test_home_is_expanded_in_every_setting(name, tmp_path):
  for text, path in (
    ('~/x', f'{tmp_path}/x'),
    ('~', str(tmp_path)),
    ('x/~', 'x/~'),
  ):
    flat = settings.flatten(
      configs.load('own_small_tags', [f'--config.{name}={text}'])
    )
    assert flat[name] in (path, [path])


@pytest.mark.parametrize('config', REMOTE + ('', '~no_such_user/x'))
def test_the_config_itself(config, capsys):
  line = _refused(['train', '--config', config, '--run-dir', 'x'], capsys)
  assert 'cannot be used as a path' in line


def test_a_config_at_home(tmp_path):
  (tmp_path / 'mine.py').write_text(
    'from tagsdc_jax.configs import world_tags\n'
    'get_config = world_tags.get_config\n',
    'utf-8',
  )
  assert configs.load('~/mine.py', ()).phase == 'tags'


def test_data_root_of_evaluate(capsys):
  line = _refused(['evaluate', 'x', '--data-root', 'gs://b'], capsys)
  assert 'data.root must be a path on this machine' in line


def test_what_is_not_of_the_command_line(tmp_path):
  assert shipped.find('~/run') == tmp_path / 'run'
  with pytest.raises(errors.UserError, match='s3:// is not supported'):
    shipped.find('s3://run')
  for name in ('gs://b/vocab.txt', '~no_such_user/vocab.txt'):
    with pytest.raises(errors.UserError, match='cannot be used as a path'):
      captions.load_vocabulary(name)


@pytest.mark.parametrize(
  'words, message',
  [
    (['0', '--', 'true'], 'it must be a whole number from 1 to 1024, got '),
    (['2', '--devices', 'nan', '--', 'true'], "from 0 to 1024, got 'nan'"),
    (['9' * 5000, '--', 'true'], 'it must be a whole number'),
  ],
)
def test_numbers_of_the_launcher(words, message, capsys):
  with pytest.raises(SystemExit) as stop:
    launcher.main(words)
  shown = capsys.readouterr().err
  assert stop.value.code == 2
  assert message in shown and shown.count('\n') == 1


@pytest.mark.parametrize(
  'words, message',
  [
    (['demo', '--seed', '-1'], 'seed must be a whole number from 0 to'),
    (['demo', '--seed', '4294967296'], 'from 0 to 4294967295, got'),
    (['convert', 'a', 'b', '--num-heads', '0'], 'model.num_heads must be'),
    (['evaluate', 'x', '--top-k-rerank', '0'], 'from 1 to 2147483647, got'),
    (
      ['evaluate', 'x', '--config.hang_seconds', 'nan'],
      'hang_seconds must be a number from 0 to',
    ),
    (
      ['evaluate', 'x', '--config.evaluation.tile_texts=-1'],
      'evaluation.tile_texts must be a whole number from 1',
    ),
    (
      ['evaluate', 'x', '--config.num_devices=1e3'],
      'num_devices must be a whole number from 0',
    ),
    (
      ['evaluate', 'x', '--config.quirks.float16_scores=yes'],
      'quirks.float16_scores must be true or false',
    ),
    (
      ['evaluate', 'x', '--config.compute.dtype=float16'],
      'compute.dtype must be one of float32, bfloat16',
    ),
  ],
)
def test_numbers_of_other_commands(words, message, capsys):
  assert message in _refused(words, capsys)
