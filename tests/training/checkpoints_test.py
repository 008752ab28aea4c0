"""Checkpoints: round trip, what is kept, which one a folder stands for."""

import dataclasses
import os
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import checkpoints, state
from tests import denying, tiny


@pytest.fixture(scope='module')
def host_state(world_dir):
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  return tiny.make_state(task)[1]


def _at(host_state, update):
  return jax.tree.map(
    lambda x: x + np.ones((), x.dtype),
    state.TrainState(
      np.int32(update - 1), host_state.params, host_state.optimizer
    ),
  )


def test_newest_comes_back_as_it_was(host_state, tmp_path):
  saves = checkpoints.Checkpoints(tmp_path)
  assert saves.newest(host_state) is None
  for update in (3, 4, 5):
    saves.save('newest', _at(host_state, update), {'phase': 'tags'})
  saves.wait()
  restored, about = saves.newest(host_state)
  assert about == {'phase': 'tags', 'update': 5}
  expected = _at(host_state, 5)
  assert jax.tree.structure(restored) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(expected)):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype
  saves.close()
  assert sorted(
    p.name for p in (tmp_path / 'checkpoints' / 'newest').iterdir()
  ) == ['4', '5']


def test_a_folder_stands_for_its_best(host_state, tmp_path):
  saves = checkpoints.Checkpoints(tmp_path)
  saves.save('newest', _at(host_state, 9), {'phase': 'tags'})
  saves.wait()
  assert checkpoints.load(tmp_path).about['update'] == 9
  saves.save('best', _at(host_state, 7), {'phase': 'tags'})
  saves.save('best', _at(host_state, 8), {'phase': 'tags'})
  saves.close()
  loaded = checkpoints.load(tmp_path)
  assert loaded.about['update'] == 8
  by_path = checkpoints.load(tmp_path / 'checkpoints' / 'newest' / '9')
  assert by_path.about['update'] == 9
  for a, b in zip(
    jax.tree.leaves(loaded.parameters),
    jax.tree.leaves(_at(host_state, 8).params),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_saved_state_is_safe_from_later_steps(host_state, tmp_path):
  """What is saved is what was handed over, not what the step made of it."""
  on_device = jax.tree.map(jax.numpy.asarray, host_state)
  devices = parallel.local_devices(2)
  replicated = parallel.replicate(jax.tree.map(np.asarray, on_device), devices)
  step = parallel.pmap_step(
    lambda s, b: (jax.tree.map(lambda x: x * 0, s), b), devices
  )
  saves = checkpoints.Checkpoints(tmp_path)
  taken = parallel.first(replicated)
  saves.save('newest', taken, {'phase': 'tags'})
  step(replicated, parallel.put(np.zeros(2), devices))
  saves.close()
  loaded = checkpoints.load(tmp_path)
  for a, b in zip(
    jax.tree.leaves(loaded.parameters),
    jax.tree.leaves(host_state.params),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_nothing_there(tmp_path):
  with pytest.raises(errors.UserError, match='found neither'):
    checkpoints.load(tmp_path)
  (tmp_path / 'file').touch()
  with pytest.raises(errors.UserError, match='found neither'):
    checkpoints.load(tmp_path / 'file')


def test_unreadable_checkpoint(host_state, tmp_path):
  saves = checkpoints.Checkpoints(tmp_path)
  saves.save('newest', _at(host_state, 2), {'phase': 'tags'})
  saves.close()
  folder = tmp_path / 'checkpoints' / 'newest' / '2' / 'parameters'
  for path in folder.rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[:10])
  with pytest.raises(errors.UserError, match='cannot be read'):
    checkpoints.load(tmp_path)


def test_a_state_that_is_not_finite_is_not_saved(host_state, tmp_path):
  saves = checkpoints.Checkpoints(tmp_path)
  saves.save('newest', _at(host_state, 2), {'phase': 'tags'})
  for part in ('params', 'optimizer'):
    state_now = jax.tree.map(np.array, _at(host_state, 3))
    leaf = next(
      x for x in jax.tree.leaves(getattr(state_now, part)) if x.ndim == 2
    )
    leaf[0, 0] = np.inf
    for kind in checkpoints.KINDS:
      with pytest.raises(
        errors.UserError,
        match='the state after update 3 is '
        'not finite, so it is not saved: [a-z_/0-9]+ has 1 '
        'infinite among '
        '.*lower optimizer.learning_rate',
      ):
        saves.save(kind, state_now, {'phase': 'tags'})
  saves.close()
  assert checkpoints.load(tmp_path).about['update'] == 2


@pytest.mark.parametrize(
  'change, message',
  [
    (
      lambda x: np.where(x == x.max(), np.nan, x),
      'must contain finite numbers only: .* has 1 NaN among .*; pass an '
      'earlier',
    ),
    (
      lambda x: x.astype(np.float64),
      'must contain float32 numbers only: .* is float64; pass one',
    ),
    (
      lambda x: x.astype(np.int32),
      'must contain float32 numbers only: .* is int32; pass one',
    ),
  ],
)
def test_parameters_of_no_use_are_told(host_state, tmp_path, change, message):
  leaves, tree = jax.tree.flatten(host_state.params)
  leaves[3] = change(
    leaves[3]
    + np.arange(leaves[3].size, dtype=np.float32).reshape(leaves[3].shape)
  )
  checkpoints.export(
    tmp_path / 'it',
    jax.tree.unflatten(tree, leaves),
    {'phase': 'tags', 'update': 1},
  )
  with pytest.raises(errors.UserError, match=f'checkpoint .*it {message}'):
    checkpoints.load(tmp_path / 'it')


def test_a_pointer_in_place_of_numbers_is_told(host_state, tmp_path):
  checkpoints.export(
    tmp_path / 'it', host_state.params, {'phase': 'tags', 'update': 1}
  )
  path = next(p for p in (tmp_path / 'it').rglob('d/*') if p.is_file())
  path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:1\n')
  with pytest.raises(
    errors.UserError,
    match=f'{path} is a Git LFS pointer, '
    'not the file itself; run `git lfs pull`',
  ):
    checkpoints.load(tmp_path / 'it')


def _damage(update_dir, how):
  """Damages the files of numbers, or what stands beside them.

  Every file of numbers: which of them, and which halves, a reader needs
  depends on the order in which the threads of one save came to write.
  """
  for path in [p for p in update_dir.rglob('d/*') if p.is_file()]:
    content = bytearray(path.read_bytes())
    if how == 'cut':
      path.write_bytes(content[: len(content) // 2])
    elif how == 'flipped':
      # A bit in each of 16 places: not every byte of a file is ever read.
      step = max(1, len(content) // 16)
      for place in range(step // 2, len(content), step):
        content[place] ^= 4
      path.write_bytes(content)
    elif how == 'gone':
      path.unlink()
  if how == 'half-written':
    shutil.rmtree(update_dir / 'optimizer')
  if how == 'facts':
    path = update_dir / 'about' / 'metadata'
    path.write_text(path.read_text().replace('tags', 'tabs'))


@pytest.mark.parametrize(
  'how', ['cut', 'flipped', 'gone', 'half-written', 'facts']
)
def test_the_one_before_a_damaged_one_is_taken(
  host_state, tmp_path, how, capsys
):
  saves = checkpoints.Checkpoints(tmp_path)
  for update in (3, 4):
    saves.save('newest', _at(host_state, update), {'phase': 'tags'})
  saves.close()
  newest = tmp_path / 'checkpoints' / 'newest'
  _damage(newest / '4', how)
  saves = checkpoints.Checkpoints(tmp_path)
  restored, about = saves.newest(host_state)
  assert about['update'] == 3
  for a, b in zip(
    jax.tree.leaves(restored), jax.tree.leaves(_at(host_state, 3)), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  # On a slow machine the time that reading takes has a line of its own.
  [shown] = [
    line
    for line in capsys.readouterr().err.splitlines()
    if not line.startswith('reading checkpoint')
  ]
  assert f'{newest / "4"} cannot be read' in shown
  assert f'using {newest / "3"} instead' in shown
  # It is kept elsewhere, so that update 4 can be saved again.
  saves.put_aside(3)
  assert len(list((tmp_path / 'checkpoints' / 'damaged').glob('4_*'))) == 1
  saves.save('newest', _at(host_state, 4), {'phase': 'tags'})
  saves.close()
  saves = checkpoints.Checkpoints(tmp_path)
  assert saves.newest(host_state)[1]['update'] == 4
  saves.close()


@pytest.mark.parametrize(
  'place',
  [
    '',
    'optimizer',
    'about',
    'about/metadata',
    'parameters/manifest.ocdbt',
    'parameters/d',
  ],
)
def test_what_may_not_be_read_is_not_damaged(host_state, place):
  with denying.open_folder() as run_dir:
    saves = checkpoints.Checkpoints(run_dir)
    for update in (3, 4):
      saves.save('newest', _at(host_state, update), {'phase': 'tags'})
    saves.close()
    newest = run_dir / 'checkpoints' / 'newest' / '4'
    with denying.denied(newest / place):
      reads = [lambda: saves.newest(host_state)]
      if place == 'optimizer':  # To rank with it this is not needed.
        assert checkpoints.load(run_dir).about['update'] == 4
      else:
        reads.append(lambda: checkpoints.load(run_dir))
      for read in reads:
        with pytest.raises(errors.UserError) as caught:
          read()
        assert str(caught.value) == (
          f'checkpoint {newest} cannot be read: permission denied for '
          f'{newest / place}; change its owner or mode, then run the same '
          'command again'
        )
    # With that done it goes on, and nothing was moved.
    assert saves.newest(host_state)[1]['update'] == 4


# What says nothing about the files: no memory, no device, too many open files.
@pytest.mark.parametrize(
  'error, kind, message',
  [
    (MemoryError('2 GiB'), MemoryError, '2 GiB'),
    (
      RuntimeError("Unable to initialize backend 'cuda'"),
      RuntimeError,
      'backend',
    ),
    (ImportError('no zstd'), ImportError, 'zstd'),
    (
      OSError(24, 'Too many open files'),
      errors.UserError,
      'newest/4 cannot be read: Too many open files; it is not '
      'necessarily damaged',
    ),
    (
      ValueError("OUT: a: read: Input/output error [os_error_code='5']"),
      errors.UserError,
      'newest/4 cannot be read: Input/output error; it is',
    ),
  ],
)
def test_what_is_not_damage_is_not_taken_for_it(
  host_state, tmp_path, error, kind, message, monkeypatch, capsys
):
  saves = checkpoints.Checkpoints(tmp_path)
  for update in (3, 4):
    saves.save('newest', _at(host_state, update), {'phase': 'tags'})
  saves.close()
  original = ocp.Checkpointer.restore

  def fail(self, path, *args, **options):
    if path.name == '4':
      raise error
    return original(self, path, *args, **options)

  monkeypatch.setattr(ocp.Checkpointer, 'restore', fail)
  for read in (
    lambda: saves.newest(host_state),
    lambda: checkpoints.load(tmp_path),
  ):
    with pytest.raises(kind, match=message) as caught:
      read()
    assert type(caught.value) is kind  # Not one that says it is damaged.
  assert f'using {tmp_path}' not in capsys.readouterr().err


def test_a_folder_that_is_anothers_gets_no_save(host_state, tmp_path):
  def refuse():
    raise errors.UserError('taken over')

  saves = checkpoints.Checkpoints(tmp_path, check=refuse)
  with pytest.raises(errors.UserError, match='taken over'):
    saves.save('newest', _at(host_state, 3), {'phase': 'tags'})
  saves.close()
  assert not any((tmp_path / 'checkpoints' / 'newest').iterdir())


def test_checkpoints_that_may_not_be_listed_are_not_missing(host_state):
  with denying.open_folder() as run_dir:
    saves = checkpoints.Checkpoints(run_dir)
    saves.save('newest', _at(host_state, 3), {'phase': 'tags'})
    saves.close()
    newest = run_dir / 'checkpoints' / 'newest'
    with denying.denied(newest):
      for read in (
        lambda: saves.newest(host_state),
        lambda: checkpoints.load(run_dir),
        lambda: checkpoints.Checkpoints(run_dir),
      ):
        with pytest.raises(
          errors.UserError, match=f'{newest} cannot be read: permission denied'
        ):
          read()


def test_what_a_killed_save_has_left_is_removed(host_state, tmp_path):
  saves = checkpoints.Checkpoints(tmp_path)
  saves.save('newest', _at(host_state, 3), {'phase': 'tags'})
  saves.close()
  newest = tmp_path / 'checkpoints' / 'newest'
  shutil.copytree(newest / '3', newest / '4.orbax-checkpoint-tmp-12')
  saves = checkpoints.Checkpoints(tmp_path)
  assert saves.newest(host_state)[1]['update'] == 3
  saves.close()
  assert [p.name for p in newest.iterdir()] == ['3']


# As TensorStore says it, from a thread of Orbax.
FULL = (
  'RESOURCE_EXHAUSTED: Error writing "a/0.0" in OCDBT database at local '
  'file "x": Failed to write 961088 bytes to file 7: No space left on '
  "device [os_error_code='28']"
)
BROKEN = "write to file 7: Input/output error [os_error_code='5']"


@pytest.mark.parametrize(
  'text, message',
  [
    (FULL, 'newest cannot be written: no space is left there; free some'),
    (BROKEN, 'newest cannot be written: Input/output error'),
  ],
)
@pytest.mark.parametrize('call', ['save', 'wait'])
def test_a_disk_that_refuses(
  host_state, tmp_path, monkeypatch, text, message, call
):
  saves = checkpoints.Checkpoints(tmp_path)

  def refuse(*unused_args, **unused_options):
    raise ValueError(text)

  name = {'save': 'save', 'wait': 'wait_until_finished'}[call]
  with monkeypatch.context() as patch:
    patch.setattr(ocp.CheckpointManager, name, refuse)
    with pytest.raises(errors.UserError, match=message):
      if call == 'save':
        saves.save('newest', _at(host_state, 3), {'phase': 'tags'})
      saves.wait()
  saves.close()


def test_other_errors_of_orbax_pass(host_state, tmp_path, monkeypatch):
  saves = checkpoints.Checkpoints(tmp_path)

  def fail(*unused_args, **unused_options):
    raise ValueError('a bug')

  with monkeypatch.context() as patch:
    patch.setattr(ocp.CheckpointManager, 'save', fail)
    with pytest.raises(ValueError, match='a bug'):
      saves.save('newest', _at(host_state, 3), {'phase': 'tags'})
  saves.close()


def _loaded(tmp_path, config):
  return checkpoints.Loaded(
    tmp_path, {}, {'phase': 'tags', 'settings': settings.flatten(config)}
  )


def test_a_checkpoint_of_another_model_names_the_settings(tmp_path):
  config = settings.Settings()
  checkpoints.check_model(_loaded(tmp_path, config), config)
  # What no parameter's shape shows is compared as well; dropout may differ.
  other = dataclasses.replace(
    config,
    model=dataclasses.replace(
      config.model, num_heads=6, hidden_size=96, dropout_rate=0.0
    ),
  )
  with pytest.raises(
    errors.UserError,
    match='model.hidden_size is 768, but 96 in the '
    'config; model.num_heads is 12, but 6 in the config. Set the config',
  ) as e:
    checkpoints.check_model(_loaded(tmp_path, config), other)
  assert 'dropout' not in str(e.value)


def test_settings_of_another_version(tmp_path):
  config = settings.Settings()
  loaded = _loaded(tmp_path, config)
  assert checkpoints.settings_of(loaded) == config
  # An earlier version cut its work by it.
  loaded.about['settings']['compute.score_rows'] = 128
  assert checkpoints.settings_of(loaded) == config
  loaded.about['settings']['model.wings'] = 2
  with pytest.raises(errors.UserError, match='wings is not a setting; pass'):
    checkpoints.settings_of(loaded)
  del loaded.about['settings']
  with pytest.raises(errors.UserError, match='cannot be used'):
    checkpoints.settings_of(loaded)


def test_a_folder_of_somebody_else_is_told_before_the_training(
  tmp_path, monkeypatch
):
  checkpoints.Checkpoints(tmp_path).close()
  # Not by its mode: who runs this may be allowed everything.
  original = os.access
  monkeypatch.setattr(
    checkpoints.os,
    'access',
    lambda path, mode: path.name != 'best' and original(path, mode),
  )
  with pytest.raises(
    errors.UserError,
    match='checkpoints cannot be written: '
    'permission denied; change its owner or mode',
  ):
    checkpoints.Checkpoints(tmp_path)
