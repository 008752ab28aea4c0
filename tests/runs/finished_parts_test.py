"""Parts on disk: whole or not there, and never another evaluation's."""

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.runs import finished_parts, lock
from tests import denying

_ABOUT = {'parameters_sha256': 'ab', 'first_pass': None}
_PART = np.arange(6, dtype=np.float32).reshape(2, 3)


def _parts(path, about=None, shape=(2, 3)):
  return finished_parts.FinishedParts(path, 'test', about or _ABOUT, shape)


def test_a_part_comes_back(tmp_path):
  parts = _parts(tmp_path / 'evaluation')
  assert parts.load(7) is None and not parts.has(7)
  with parts.claimed(1):
    parts.save(7, _PART)
  assert not (parts.path / 'about.json').exists()
  with parts.claimed(0):
    pass
  again = _parts(tmp_path / 'evaluation')
  assert again.path == parts.path and again.has(7)
  np.testing.assert_array_equal(again.load(7), _PART)
  assert {p.name for p in parts.path.iterdir()} == {
      'about.json', '000007.part'}


def test_everything_else_has_another_folder(tmp_path):
  paths = {_parts(tmp_path, about).path for about in (
      _ABOUT, _ABOUT | {'parameters_sha256': 'ac'},
      _ABOUT | {'first_pass': {'k': 3}})}
  assert len(paths) == 3


def test_a_part_that_was_moved_here_is_not_taken(tmp_path):
  ours, other = _parts(tmp_path), _parts(tmp_path, {'parameters_sha256': 'x'})
  other.save(1, _PART)
  for name in ('000001.part', '000002.part'):
    (ours.path / name).write_bytes((other.path / '000001.part').read_bytes())
  assert ours.load(1) is None and ours.has(1)
  # Nor is another number's.
  ours.save(1, _PART)
  (ours.path / '000002.part').write_bytes(
      (ours.path / '000001.part').read_bytes())
  assert ours.load(2) is None
  assert _parts(tmp_path, shape=(3, 3)).load(1) is None


@pytest.mark.parametrize('damage', [
    lambda content: content[:-1], lambda content: content[:10],
    lambda content: b'', lambda content: content + b'\0',
    lambda content: content[:-5] + bytes([content[-5] ^ 4]) + content[-4:],
    lambda content: bytes([content[0] ^ 1]) + content[1:]])
def test_damage_is_noticed(tmp_path, damage):
  parts = _parts(tmp_path)
  parts.save(0, _PART)
  path = parts.path / '000000.part'
  path.write_bytes(damage(path.read_bytes()))
  assert parts.has(0) and parts.load(0) is None


def test_one_evaluation_at_a_time(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, '_SETTLING', 0.1)
  with _parts(tmp_path).claimed(0):
    with _parts(tmp_path).claimed(1):
      pass
    with pytest.raises(errors.UserError, match='in use by process .* wait for '
                       'the same evaluation, or give another --work-dir'):
      with _parts(tmp_path).claimed(0):
        pass
  with _parts(tmp_path).claimed(0):
    pass


def test_removing_leaves_what_is_not_ours(tmp_path):
  parts = _parts(tmp_path / 'evaluation')
  parts.save(0, _PART)
  (tmp_path / 'evaluation' / 'other').mkdir()
  parts.remove()
  assert [p.name for p in (tmp_path / 'evaluation').iterdir()] == ['other']
  parts = _parts(tmp_path / 'alone')
  parts.remove()
  assert not (tmp_path / 'alone').exists()


def test_a_folder_that_may_not_be_written_names_the_option():
  with denying.open_folder() as folder:
    with denying.denied(folder), pytest.raises(
        errors.UserError, match='cannot be written: permission denied; change '
        'its owner or mode, or give another --work-dir'):
      _parts(folder / 'evaluation')


def test_a_file_in_the_way_is_told(tmp_path):
  (tmp_path / 'evaluation').write_text('')
  with pytest.raises(errors.UserError, match='cannot be written'):
    _parts(tmp_path / 'evaluation')
