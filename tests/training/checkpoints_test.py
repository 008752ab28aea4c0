"""Checkpoints: round trip, what is kept, which one a folder stands for."""

import jax
import numpy as np
import pytest

from tagsdc_jax import errors, parallel
from tagsdc_jax.training import checkpoints, state
from tests import tiny


@pytest.fixture(scope='module')
def host_state(world_dir):
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  return tiny.make_state(task)[1]


def _at(host_state, update):
  return jax.tree.map(lambda x: x + np.ones((), x.dtype), state.TrainState(
      np.int32(update - 1), host_state.params, host_state.optimizer))


def test_newest_comes_back_as_it_was(host_state, tmp_path):
  saves = checkpoints.Checkpoints(tmp_path)
  assert saves.newest(host_state) is None
  for update in (3, 4, 5):
    saves.save('newest', _at(host_state, update), {'phase': 'tags'})
  saves.wait()
  restored, about = saves.newest(host_state)
  assert about == {'phase': 'tags', 'update': 5}
  expected = _at(host_state, 5)
  assert (jax.tree.structure(restored) == jax.tree.structure(expected))
  for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(expected)):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype
  saves.close()
  assert sorted(p.name for p in (
      tmp_path / 'checkpoints' / 'newest').iterdir()) == ['4', '5']


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
  for a, b in zip(jax.tree.leaves(loaded.parameters),
                  jax.tree.leaves(_at(host_state, 8).params), strict=True):
    np.testing.assert_array_equal(a, b)


def test_saved_state_is_safe_from_later_steps(host_state, tmp_path):
  """What is saved is what was handed over, not what the step made of it."""
  on_device = jax.tree.map(jax.numpy.asarray, host_state)
  devices = parallel.local_devices(2)
  replicated = parallel.replicate(jax.tree.map(np.asarray, on_device), devices)
  step = parallel.pmap_step(
      lambda s, b: (jax.tree.map(lambda x: x * 0, s), b), devices)
  saves = checkpoints.Checkpoints(tmp_path)
  taken = parallel.first(replicated)
  saves.save('newest', taken, {'phase': 'tags'})
  step(replicated, parallel.put(np.zeros(2), devices))
  saves.close()
  loaded = checkpoints.load(tmp_path)
  for a, b in zip(jax.tree.leaves(loaded.parameters),
                  jax.tree.leaves(host_state.params), strict=True):
    np.testing.assert_array_equal(a, b)


def test_nothing_there(tmp_path):
  with pytest.raises(errors.UserError, match='found neither'):
    checkpoints.load(tmp_path)


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
