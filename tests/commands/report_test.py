"""`tagsdc report` as people type it; lmdb_run_test.py has a trained run."""

from tagsdc_jax import main
from tagsdc_jax.runs import folder
from tests import tiny


def test_a_folder_that_is_no_run_is_one_line(tmp_path, capsys):
  for run_dir in (tmp_path, tmp_path / 'missing'):
    assert main.main(['report', str(run_dir)]) == 2
    shown = capsys.readouterr()
    assert shown.err == (
      f'tagsdc report: {run_dir} contains no run (config.json is missing, in '
      'it and in pretrain, tags, dc); pass the folder of a run or a '
      'demo\n'
    )
    assert not shown.out
  assert not any(tmp_path.iterdir())


def test_a_run_that_has_just_begun(tmp_path, capsys):
  run_dir = tmp_path / 'run'
  folder.claim(run_dir, tiny.make_settings('tags', 'nowhere'))
  assert main.main(['report', str(run_dir)]) == 0
  shown = capsys.readouterr().out
  assert shown == f'{run_dir / "report.html"}\n'
  page = (run_dir / 'report.html').read_text('utf-8')
  assert '0 of 4 updates are done' in page
  assert 'must be a run folder with checkpoints' in page
