"""`tagsdc export` as people type it."""

import pytest

from tagsdc_jax import main
from tagsdc_jax.negative_files.exports import writing
from tests.negative_files.exports import making, stand_ins


@pytest.fixture(name='file')
def _file(tmp_path):
  making.write_photos(tmp_path / 'photos')
  making.write(tmp_path / 'all.jsonl', photos=tmp_path / 'photos')
  return tmp_path / 'all.jsonl'


def _run(*words):
  try:
    return main.main(['export', *map(str, words)])
  except SystemExit as stop:
    return stop.code


def _refused(capsys, *words):
  assert _run(*words) == 2
  shown = capsys.readouterr()
  assert shown.err.startswith('tagsdc export: ') and not shown.out
  assert shown.err.count('\n') == 1
  return shown.err


def test_a_file_and_what_is_said(file, tmp_path, capsys):
  out = tmp_path / 'train.tsv'
  assert _run(file, out, '--format', 'negclip', '--per-caption', 1) == 0
  shown = capsys.readouterr()
  assert shown.out.splitlines()[:3] == [
    f'wrote {out} for NegCLIP (vinid/neg_clip) and FSC-CLIP: 4 captions, 4 '
    'negatives',
    'left out: 1 captions without negatives',
    'left out: 9 negatives after the first 1 of their caption',
  ]
  assert "--csv-separator $'\\t' --csv-img-key filepath" in shown.out
  assert not shown.err
  assert len(stand_ins.read_negclip(out)) == 4


def test_standard_output(file, capfd):
  assert _run(file, '/dev/stdout', '--format', 'ms-swift') == 0
  shown = capfd.readouterr()
  assert shown.out.count('\n') == 4 and shown.out.startswith('{"messages": ')
  assert shown.err.startswith('wrote /dev/stdout for ms-swift')


def test_all_formats_are_listed(capsys):
  assert _run('--help') == 0
  shown = capsys.readouterr().out
  for name, form in writing.FORMATS.items():
    assert f'\n  {name} ' in shown and form.consumer in shown


def test_wrong_input_is_one_line(file, tmp_path, capsys):
  out = tmp_path / 'out'
  missing = tmp_path / 'missing.jsonl'
  words = '--format', 'trohn'
  assert 'cannot be read: No such file' in _refused(
    capsys, missing, out, *words
  )
  (tmp_path / 'other.json').write_text('{"images": []}')
  line = _refused(capsys, tmp_path / 'other.json', out, *words)
  assert 'is no file of negatives of version 1, but text that begins ' in line
  assert 'invalid choice' in _refused(capsys, file, out, '--format', 'blip')
  assert 'required: --format' in _refused(capsys, file, out)
  for number in ('0', '1001', 'x'):
    line = _refused(capsys, file, out, *words, '--per-caption', number)
    assert 'must be a whole number from 1 to 1000, got' in line
  assert 'is a file' in _refused(capsys, file, out, *words, '--images', file)
  assert not out.exists()
