"""`tagsdc settings` as people type it, and docs/settings.md."""

from pathlib import Path

import pytest

from tagsdc_jax import main, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.runs import folder
from tagsdc_jax.settings import kinds
from tests import denying

_PAGE = Path(__file__).parents[2] / 'docs' / 'settings.md'


@pytest.fixture(autouse=True)
def _terminal(monkeypatch, tmp_path):
  monkeypatch.setenv('COLUMNS', '80')
  monkeypatch.chdir(tmp_path)


def _show(capsys, *words):
  """Returns what is printed, and the first line of each setting's row."""
  assert main.main(['settings', *words]) == 0
  shown = capsys.readouterr()
  assert not shown.err
  rows = {
    line.split()[0]: line.split()[1:]
    for line in shown.out.splitlines()
    if line.partition(' ')[0] in settings.ALL
  }
  return shown.out, rows


def _refused(capsys, *words):
  """Returns the one line that says what is wrong."""
  try:
    code = main.main(['settings', *words])
  except SystemExit as stop:
    code = stop.code
  shown = capsys.readouterr()
  assert code == 2 and not shown.out
  assert shown.err.startswith('tagsdc settings: ')
  assert shown.err.count('\n') == 1
  return shown.err


def test_all_settings_are_shown_by_group(capsys):
  shown, rows = _show(capsys)
  assert list(rows) == list(settings.ALL)
  assert '\nlosses: Losses and their weights' in shown
  assert rows['losses.margin'][0] == '0.2'
  assert rows['optimizer.clip_norm'][0] == '2.0'
  assert rows['init_from'][0] == 'empty'
  assert rows['data.cache_regions'][0] == 'true'
  assert 'differs from the default' not in shown


@pytest.mark.parametrize(
  'words, names',
  [
    (['losses.margin'], ['losses.margin']),
    (['margin', 'seed', 'margin'], ['seed', 'losses.margin']),
    (['batch'], ['batch.positives', 'batch.micro_batches']),
    (
      ['validation_images'],
      ['data.validation_images', 'evaluation.validation_images'],
    ),
    (['losses', '--search', 'mLm'], ['losses.mlm']),
    (['--search', 'RATE', 'learning peak'], ['optimizer.learning_rate']),
    # A word of a range.
    (['--search', 'static_refill'], ['negatives.sources']),
  ],
)
def test_what_is_named_or_found_is_shown(words, names, capsys):
  assert list(_show(capsys, *words)[1]) == names


def test_one_setting_has_meaning_and_range(capsys):
  shown, _ = _show(capsys, 'optimizer.clip_norm')
  text = ' '.join(shown.split())
  assert 'norm above which gradients are scaled down.' in text
  assert 'A number from 1e-06 to 1e+06, or none for no clipping.' in text


def test_values_of_a_config_are_marked_where_they_differ(capsys):
  config = configs.load('world_dc', ())
  shown, rows = _show(capsys, 'world_dc')
  plain, flat = map(settings.flatten, (settings.Settings(), config))
  changed = {name for name in plain if plain[name] != flat[name]}
  assert {name for name, cells in rows.items() if cells[1] == '*'} == changed
  assert rows['losses.correction'][:3] == ['0.0005', '*', '0.1']
  assert rows['losses.margin'][:2] == ['0.2', '0.2']
  assert shown.endswith(
    f'\n* differs from the default: {len(changed)} of {len(settings.ALL)} '
    'settings of world_dc\n'
  )


def test_a_file_with_overrides_and_a_search(capsys, tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(
    'from tagsdc_jax import settings\n'
    'def get_config():\n  return settings.default_config()\n',
    'utf-8',
  )
  words = [str(path), '--search', 'temperature']
  assert _show(capsys, *words)[1]['negatives.temperature'][:2] == ['1.5', '1.5']
  words.append('--config.negatives.temperature=2')
  cells = _show(capsys, *words)[1]['negatives.temperature']
  assert cells[:3] == ['1.5', '*', '2.0']


def test_a_run_folder_may_be_called_as_a_group_is(capsys, tmp_path):
  (tmp_path / 'data').mkdir()
  assert 'differs from' not in _show(capsys, 'data')[0]  # No run.
  config = configs.load('world_dc', ['--config.seed=7'])
  folder.claim(tmp_path / 'losses', config)
  for name in ('losses', './losses'):
    assert _show(capsys, name, 'seed')[1]['seed'][:3] == ['0', '*', '7']


@pytest.mark.parametrize('columns', [40, 80, 160])
def test_tables_are_as_wide_as_the_terminal(columns, capsys, monkeypatch):
  monkeypatch.setenv('COLUMNS', str(columns))
  shown, _ = _show(capsys, 'flickr30k_base_dc')
  lines = shown.splitlines()
  assert columns - 4 < max(map(len, lines)) <= columns
  assert '\x1b' not in shown
  assert any(line.split()[-1:] == ['range'] for line in lines)
  # The range has a column of its own, or ends the meaning.
  assert ('  a number from 0 to 1 ' in shown) == (columns == 160)


@pytest.mark.parametrize(
  'words, message',
  [
    ([''], 'it is empty'),
    (['losses.margn'], 'nearest: losses.margin;'),
    (['margn'], 'nearest: margin;'),
    (['wrld_dc'], 'nearest: world_dc;'),
    (
      ['runs/world_dc'],
      'runs/world_dc contains no readable config.json of a run',
    ),
    (['runs/wrld_dc.py'], 'nearest: world_dc'),
    (['world_dc', 'world_tags'], 'one config or run, got world_dc and world_t'),
    (['gs://bucket/run'], 'mount it'),
    (['.'], '. contains no readable config.json of a run'),
    (['a.txt'], 'config a.txt cannot be used: line 1: SyntaxError'),
    (['--search'], 'expected at least one argument'),
    (['--search', ' '], '--search needs a word'),
    (['--search', 'temprature'], "contains 'temprature'; nearest: temperature"),
    (['--search', 'margin', 'seed'], 'no setting contains all of margin, seed'),
    (['--markdown', 'losses'], 'pass nothing else with it'),
    (['--config.seed=1'], 'unknown arguments: --config.seed=1'),
    (['world_dc', '--config.sed=1'], 'nearest: --config.seed'),
  ],
)
def test_what_cannot_be_shown_is_one_line(words, message, capsys):
  Path('a.txt').write_text('hello world\n', 'utf-8')
  assert message in _refused(capsys, *words)


def test_what_may_not_be_read_is_one_line(capsys):
  with denying.open_folder() as place:
    (place / 'mine.py').write_text('', 'utf-8')
    with denying.denied(place):
      assert 'permission denied' in _refused(capsys, str(place / 'mine.py'))


@pytest.mark.parametrize('name', settings.ALL)
def test_values_are_spelled_as_the_command_line_reads_them(name):
  setting = settings.ALL[name]
  text = kinds.spelled(setting.default).replace(kinds.EMPTY, '')
  assert settings.parse_value(name, text) == setting.default


def test_names_with_commas_are_spelled_as_the_command_line_reads_them():
  value = ('a,b.db', 'c.db')
  text = kinds.spelled(value)
  assert settings.parse_value('data.train_text', text) == value


def test_the_page_is_current(capsys):
  assert main.main(['settings', '--markdown']) == 0
  assert capsys.readouterr().out == _PAGE.read_text('utf-8'), (
    'run: tagsdc settings --markdown > docs/settings.md'
  )
