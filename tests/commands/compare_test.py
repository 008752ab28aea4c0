"""`tagsdc compare`: the table, the file, and the exit code."""

import json
import shutil

import numpy as np
import pytest

from tagsdc_jax import main
from tests.comparison import opening

_NAME = 'metrics.npz'


@pytest.fixture(name='folder')
def _folder(tmp_path):
  manifest = json.loads((opening.FOLDER / 'MANIFEST.json').read_text())
  manifest['files'] = {_NAME: manifest['files'][_NAME]}
  manifest['other_files'] = {}
  (tmp_path / 'MANIFEST.json').write_text(json.dumps(manifest))
  shutil.copy(opening.FOLDER / _NAME, tmp_path)
  return tmp_path


def test_table_file_and_success(folder, tmp_path, capsys):
  out = tmp_path / 'differences.json'
  assert main.main(['compare', str(folder), '--json', str(out)]) == 0
  shown = capsys.readouterr().out
  assert 'five_captions/result (as_released)' in shown
  last = shown.strip().splitlines()[-1]
  result = json.loads(out.read_text())
  assert last.startswith(
    f'everything compared holds: {result["counts"]["holds"]} holds;'
  )
  assert result['holds'] is True and result['x64'] is False
  item = next(i for i in result['items'] if i['name'] == 'tied_f16/result')
  assert item['holds'] is True and item['verdict'] == 'holds'
  assert item['file'] == _NAME and item['variant'] == 'as_released'
  assert 0 <= item['max_abs'] < 1e-12 and item['tolerance'] == '1e-09'


def test_failure(folder, tmp_path, capsys):
  with np.load(folder / _NAME) as stored:
    arrays = dict(stored)
  arrays['tied_f16/result'] = arrays['tied_f16/result'] + 1e-8
  arrays['random_f32/result'][0] = np.nan
  np.savez(folder / _NAME, **arrays)
  out = tmp_path / 'differences.json'
  assert main.main(['compare', str(folder), '--json', str(out)]) == 1
  result = json.loads(out.read_text(), parse_constant=pytest.fail)
  assert result['holds'] is False and result['counts']['FAILS'] == 2
  assert 'inf' in [item['max_abs'] for item in result['items']]
  shown = capsys.readouterr().out
  line = next(x for x in shown.splitlines() if 'tied_f16/result (' in x)
  assert 'FAILS' in line and '1.0e-08' in line
  assert 'NOT as recorded' in shown.strip().splitlines()[-1]


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['nowhere'], 'nowhere must be a folder of recordings'),
    (['.'], 'contains no MANIFEST.json'),
    (['.', '--json', 'no/such.json'], 'folder no is missing'),
  ],
)
def test_errors_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert main.main(['compare', *arguments]) == 2
  shown = capsys.readouterr()
  assert message in shown.err and shown.err.count('\n') == 1
  assert not shown.out
