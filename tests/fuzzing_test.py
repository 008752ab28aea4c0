"""A few of the damaged files of `tests/fuzzing.py`; and what it found."""

import shutil

import pytest

from tagsdc_jax import errors
from tagsdc_jax.comparison import stored
from tests import fuzzing


@pytest.mark.parametrize('target', ['lmdb', 'npz', 'config', 'run folder',
                                    'weights'])
def test_damaged_files_end_in_words(target):
  outcomes = list(fuzzing.run_cases(12, 5, target))
  assert len(outcomes) == 12
  assert not [o for o in outcomes
              if o[2] not in ('told', 'unharmed', 'changed')]
  assert any(kind == 'told' for _, _, kind, _ in outcomes)


def test_a_crash_a_hang_and_a_traceback_would_be_seen(tmp_path, monkeypatch):
  monkeypatch.setattr(fuzzing, 'LIMIT', 0.3)

  def wait(place):
    while True:
      pass

  def end(place):
    fuzzing.os.abort()
  assert fuzzing.read_apart(wait, tmp_path)[0] == 'hang'
  assert fuzzing.read_apart(end, tmp_path) == ('crash', 'exit -6')
  assert fuzzing.read_apart(lambda place: 1 // 0, tmp_path)[0] == 'traceback'


def test_a_damaged_stream_within_an_npz_file(tmp_path):
  # zlib has an error of its own.
  path = tmp_path / 'forward.npz'
  shutil.copy(fuzzing.RECORDED / 'forward.npz', path)
  content = bytearray(path.read_bytes())
  content[290365:290365 + 512] = content[1000:1512]
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match='cannot be read as arrays'):
    stored.open_arrays(path, check=True)
