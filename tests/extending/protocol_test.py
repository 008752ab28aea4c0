"""A user's evaluation protocol, by its name on the command line."""

import json
import shutil

import numpy as np
import pytest

from tagsdc_jax import main
from tests.extending import conftest

NAME = 'my_protocol:by_length'


def _evaluate(run_dir, *flags):
  return main.main(['evaluate', str(run_dir), *map(str, flags)])


def test_numbers_are_shown_and_written_under_its_name(
  my_run, my_data, tmp_path, capsys
):
  out, matrix = tmp_path / 'out.json', tmp_path / 'scores.npy'
  # Found beside the config, for the run's data source lies there.
  assert (
    _evaluate(my_run, '--protocol', NAME, '--json', out, '--scores', matrix)
    == 0
  )
  counted = json.loads(out.read_text('utf-8'))['protocols'][NAME]
  assert counted.keys() == {'long', 'short'}
  # By hand, from the scores.
  scores = np.load(matrix)
  sentences = json.loads((my_data / 'test.json').read_text('utf-8')).values()
  lengths = np.array([len(x.split()) for own in sentences for x in own])
  ranks = [
    np.sum(row >= row[number // 2]) - 1 for number, row in enumerate(scores)
  ]
  for name, is_chosen in (
    ('long', lengths > np.median(lengths)),
    ('short', lengths <= np.median(lengths)),
  ):
    assert counted[name]['r5'] == pytest.approx(
      100 * np.mean(np.array(ranks)[is_chosen] < 5)
    )
  shown = capsys.readouterr().out
  assert f'protocol {NAME}' in shown
  (row,) = [line for line in shown.splitlines() if 'long.r5' in line]
  assert f'{counted["long"]["r5"]:.6g}' in row


def test_in_the_current_folder_if_the_run_has_no_extensions(
  my_run, my_config, tmp_path, monkeypatch, capsys
):
  # As of a run whose settings name nothing of the user's.
  shutil.copy(conftest.HERE / 'my_protocol.py', tmp_path / 'mine.py')
  shutil.copy(my_config.parent / 'my_captions.py', tmp_path)
  monkeypatch.chdir(tmp_path)
  assert (
    _evaluate(my_run, '--protocol', 'mine:by_length', '--config.extensions=')
    == 0
  )
  assert 'protocol mine:by_length' in capsys.readouterr().out


@pytest.mark.parametrize(
  'content, message',
  [
    (None, 'names bad:count, but there is no file '),
    ('x = 1', 'defines no count'),
    ('import nothing_like_it', 'line 1 cannot be run: ModuleNotFoundError'),
    (
      'def count(scores, data, counting):\n  return 1 / 0',
      '--protocol bad:count failed: bad.py, line 2: ZeroDivisionError',
    ),
    ('def count(scores):\n  pass', 'failed: TypeError: count() takes 1'),
    ('def count(*args):\n  return 5', 'a dict of numbers by name, got int'),
    (
      'def count(*args):\n  return {"a": {"b": float("nan")}}',
      'must return finite numbers, got nan for b',
    ),
    ('def count(*args):\n  return {"a": "all"}', 'got all for a'),
  ],
)
def test_bad_files_are_one_line(
  content, message, my_run, my_config, tmp_path, capsys
):
  shutil.copy(my_config.parent / 'my_captions.py', tmp_path)
  if content is not None:
    (tmp_path / 'bad.py').write_text(content, 'utf-8')
  assert (
    _evaluate(
      my_run, '--protocol', 'bad:count', f'--config.extensions={tmp_path}'
    )
    == 2
  )
  line = capsys.readouterr().err.strip().splitlines()[-1]
  assert line.startswith('tagsdc evaluate: --protocol ')
  assert 'bad:count' in line and message in line


@pytest.mark.parametrize('name', ['coco', 'a:', 'a:b:c', 'a/b:c', ':b'])
def test_a_name_that_is_none(name, my_run, capsys):
  with pytest.raises(SystemExit):
    _evaluate(my_run, '--protocol', name)
  assert 'coco_5k, cxc, eccv, or module:function for a function' in (
    capsys.readouterr().err
  )
