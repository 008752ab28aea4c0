"""Run folders: who may use them, and what a failed start leaves."""

import dataclasses
import json

import pytest

from tagsdc_jax import errors, files, settings
from tagsdc_jax.runs import folder, lock
from tests import denying

CONFIG = settings.Settings()
OTHER = dataclasses.replace(CONFIG, seed=3)


def _fail_in(run_dir, config=CONFIG, update=None):
  """Starts a run that fails, after saving a checkpoint if `update` is given."""
  with pytest.raises(errors.UserError, match='bad data'):
    with folder.claimed(run_dir, config):
      (run_dir / 'metrics.jsonl').write_text('{}')
      (run_dir / 'checkpoints' / 'newest').mkdir(parents=True)
      if update is not None:
        (run_dir / 'checkpoints' / 'newest' / str(update)).mkdir()
      raise errors.UserError('bad data')


def test_a_failed_start_frees_the_folder(tmp_path):
  run_dir = tmp_path / 'run'
  _fail_in(run_dir)
  assert not any(run_dir.iterdir())
  folder.claim(run_dir, OTHER)
  assert folder.read_config(run_dir)['seed'] == 3


def test_what_has_saved_stays(tmp_path):
  _fail_in(tmp_path, update=7)
  assert (tmp_path / 'metrics.jsonl').exists()
  folder.claim(tmp_path, CONFIG)
  with pytest.raises(
    errors.UserError,
    match='seed was 0, now 3; .*Give another --run-dir, or the same settings',
  ):
    folder.claim(tmp_path, OTHER)


def test_what_may_not_be_looked_at_stays():
  with denying.open_folder() as run_dir:
    folder.claim(run_dir, CONFIG)
    newest = run_dir / 'checkpoints' / 'newest'
    newest.mkdir(parents=True)
    with (
      denying.denied(newest),
      pytest.raises(errors.UserError, match='bad data'),
    ):
      with folder.claimed(run_dir, CONFIG):
        raise errors.UserError('bad data')
    assert newest.is_dir()
    assert folder.read_config(run_dir)['seed'] == 0


def test_another_run_is_not_touched(tmp_path):
  folder.claim(tmp_path, CONFIG)  # It may be at work, with nothing saved yet.
  with pytest.raises(
    errors.UserError,
    match='saved nothing yet: if it has ended, remove the folder',
  ):
    with folder.claimed(tmp_path, OTHER):
      raise AssertionError
  assert folder.read_config(tmp_path)['seed'] == 0


def test_one_run_at_a_time(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, '_SETTLING', 0.1)
  with folder.claimed(tmp_path, CONFIG):
    with pytest.raises(
      errors.UserError,
      match='is in use by process .* wait '
      'for it or stop it, or pass another --run-dir',
    ):
      with folder.claimed(tmp_path, CONFIG):
        raise AssertionError
    assert folder.read_config(tmp_path)['seed'] == 0
  with folder.claimed(tmp_path, CONFIG):
    pass
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']


def test_a_lock_that_the_dead_have_left_is_no_content(tmp_path):
  (tmp_path / lock.NAME).touch()
  with folder.claimed(tmp_path, CONFIG):
    pass
  (tmp_path / 'letter.txt').touch()
  (tmp_path / 'config.json').unlink()
  with pytest.raises(errors.UserError, match='is not empty'):
    with folder.claimed(tmp_path, CONFIG):
      raise AssertionError
  assert [path.name for path in tmp_path.iterdir()] == ['letter.txt']


def test_who_was_taken_over_leaves_the_folder_to_the_other(tmp_path):
  with pytest.raises(errors.UserError, match='taken over by'):
    with folder.claimed(tmp_path, CONFIG) as own:
      (tmp_path / lock.NAME).write_text('{"token": "other"}')
      own._looked -= 100  # It stood still.
      own.check()
  assert folder.read_config(tmp_path)['seed'] == 0
  assert (tmp_path / lock.NAME).exists()


@pytest.mark.parametrize(
  'error', [errors.Stopped('leave'), KeyboardInterrupt()]
)
def test_who_leaves_with_nothing_saved_frees_the_folder(tmp_path, error):
  with pytest.raises(type(error)), folder.claimed(tmp_path, CONFIG):
    raise error
  assert not any(tmp_path.iterdir())


def test_cutting_the_scoring_otherwise_is_allowed(tmp_path):
  folder.claim(tmp_path, CONFIG)
  folder.claim(
    tmp_path,
    dataclasses.replace(
      CONFIG, evaluation=dataclasses.replace(CONFIG.evaluation, tile_texts=4)
    ),
  )


def test_a_run_begun_before_a_quirk_had_a_name_goes_on(tmp_path):
  config = settings.default_config()
  settings.apply_preset(config, 'as_released')
  folder.claim(tmp_path, settings.from_config(config))
  path = tmp_path / folder.CONFIG
  content = json.loads(path.read_text())
  del content['settings']['quirks.equal_texts']
  path.write_text(json.dumps(content))
  folder.claim(tmp_path, settings.from_config(config))
  assert folder.read_config(tmp_path)['quirks.equal_texts'] is True


def test_a_full_disk_leaves_the_old_file(tmp_path):
  path = tmp_path / 'results.json'
  files.write_json(path, {'a': 1})

  def fill(file):
    file.write(b'{"a"')
    raise OSError(28, 'No space left on device')

  with pytest.raises(
    errors.UserError, match='results.json cannot be written: no space is left'
  ):
    files.write_whole(path, fill)
  assert json.loads(path.read_text()) == {'a': 1}
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
  'name', ['.config.json.0123abcd.partial', 'config.partial']
)
def test_what_a_killed_first_write_has_left_is_no_hindrance(tmp_path, name):
  (tmp_path / name).write_text('{"sett')
  folder.claim(tmp_path, CONFIG)
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']
  # Of what is not ours nothing is taken for such.
  other = tmp_path / 'other'
  other.mkdir()
  (other / 'letter.txt').write_text('dear')
  with pytest.raises(errors.UserError, match='is not empty and contains no'):
    folder.claim(other, CONFIG)


def test_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(
    errors.UserError,
    match='run cannot be written: Not a directory; pass another path',
  ):
    folder.claim(tmp_path / 'file' / 'run', CONFIG)


def test_a_path_may_be_spelled_with_its_home_or_without(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  flat = settings.flatten(CONFIG)
  begun = settings.from_flat(
    flat | {'data.root': '~/data', 'data.train_text': ['~/a', 'b']}
  )
  same = settings.from_flat(
    flat
    | {'data.root': '/home/me/data', 'data.train_text': ['/home/me/a', 'b']}
  )
  assert begun == same
  folder.claim(tmp_path, begun)
  folder.claim(tmp_path, same)
  # As written by a version that did not expand them.
  files.write_json(
    tmp_path / folder.CONFIG,
    {
      'settings': flat
      | {'data.root': '~/data', 'data.train_text': ['~/a', 'b']}
    },
  )
  folder.claim(tmp_path, same)
  with pytest.raises(errors.UserError, match="data.root was '/home/me/data'"):
    folder.claim(
      tmp_path,
      settings.from_flat(
        flat | {'data.root': '/home/me/other', 'data.train_text': ['~/a', 'b']}
      ),
    )


@pytest.mark.parametrize(
  'content',
  [[], {}, {'settings': []}, {'settings': 3}, {'settings': None}, 'text', None],
)
def test_a_config_that_is_no_config_is_a_line(content, tmp_path):
  files.write_json(tmp_path / folder.CONFIG, content)
  for read in (folder.read_config, lambda path: folder.claim(path, CONFIG)):
    with pytest.raises(
      errors.UserError, match='contains no readable config.json'
    ):
      read(tmp_path)
