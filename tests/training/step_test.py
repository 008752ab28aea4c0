"""The compiled update: devices, compilation, what moves and what does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

from tagsdc_jax.negatives import masking, refilling
from tagsdc_jax.runs import setup
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import device_feed, keys, step
from tests import tiny

PHASES = ('pretrain', 'tags', 'dc')
# On how many devices a phase runs if that does not matter.
_DEVICES = {'pretrain': 1, 'tags': 2, 'dc': 1}


@functools.cache
def _make_step(task, tx, axis_name):
  return step.make_train_step(
    task.settings, setup.make_phase(task).objective, tx, axis_name
  )


@functools.cache
def _run(phase, data_dir, num_devices, num_updates=3):
  """Returns metrics per update, the last state, and compilations per update."""
  config = tiny.make_settings(phase, data_dir)
  task = tiny.make_task(config)
  tx, state = tiny.make_state(task)
  devices = parallel.local_devices(num_devices)
  train_step = parallel.pmap_step(_make_step(task, tx, parallel.AXIS), devices)
  compiled = []
  monitoring.register_event_duration_secs_listener(
    lambda name, _, **kw: (
      compiled.append(name) if 'backend_compile' in name else None
    )
  )
  state = parallel.replicate(state, devices)
  metrics, counts = [], []
  for batch in tiny.make_updates(config, num_devices, num_updates):
    batch = parallel.put(batch, devices)
    before = len(compiled)
    state, values = train_step(state, batch)
    counts.append(len(compiled) - before)
    metrics.append(parallel.first(values))
  return metrics, parallel.first(state), counts


# dc has all that tags has.
@pytest.mark.parametrize('phase', ['pretrain', 'dc'])
def test_four_devices_run_as_one(phase, world_dir):
  one, state_one, _ = _run(phase, world_dir, 1)
  four, state_four, _ = _run(phase, world_dir, 4)
  for a, b in zip(one, four, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_allclose(
        a[name], b[name], rtol=0, atol=1e-5, err_msg=name
      )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
    state_one.params,
    state_four.params,
  )


def test_inputs_in_slices_give_the_same_update(world_dir):
  metrics, state, _ = _run('tags', world_dir, 2)
  task = tiny.make_task(tiny.make_settings('tags', world_dir))
  tx, start = tiny.make_state(task)
  devices = parallel.local_devices(2)
  objective = setup.make_phase(task).objective
  updates = tiny.make_updates(task.settings, 2, 3, num_slices=2)
  programs = device_feed.Programs(
    parallel.pmap_step(
      step.make_update(task.settings, tx, parallel.AXIS), devices
    ),
    parallel.pmap_step(
      step.make_start(
        task.settings, objective, jax.tree.map(lambda x: x[0], updates[0])
      ),
      devices,
      (),
    ),
    parallel.pmap_step(step.make_accumulate(task.settings, objective), devices),
    num_slices=2,
  )
  feed = device_feed.Feed(iter(updates), devices)
  sliced = parallel.replicate(start, devices)
  for values in metrics:
    sliced, found = device_feed.run_update(programs, sliced, feed)
    feed.ran(found['loss'])
    found = parallel.first(found)
    assert found.keys() == values.keys()
    for name, value in values.items():
      np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    state.params,
    parallel.first(sliced).params,
  )


@pytest.mark.parametrize('phase', PHASES)
def test_compiles_once(phase, world_dir):
  _, _, counts = _run(phase, world_dir, _DEVICES[phase])
  assert counts[0] > 0 and counts[1:] == [0, 0]


@pytest.mark.parametrize('phase', PHASES)
def test_parameters_move_or_stay(phase, world_dir):
  _, state, _ = _run(phase, world_dir, _DEVICES[phase])
  task = tiny.make_task(tiny.make_settings(phase, world_dir))
  _, start = tiny.make_state(task)
  assert int(state.update) == 3
  for path, before in jax.tree_util.tree_leaves_with_path(start.params):
    names = [entry.key for entry in path]
    after = functools.reduce(lambda tree, name: tree[name], names, state.params)
    stays = bool(set(names) & set(setup.make_phase(task).untrained))
    assert np.array_equal(before, after) == stays, names


@pytest.mark.parametrize('phase', PHASES)
def test_losses_are_finite_and_complete(phase, world_dir):
  metrics, _, _ = _run(phase, world_dir, _DEVICES[phase])
  expected = {
    'pretrain': {'matching'},
    'tags': {'triplet_images', 'triplet_texts', 'triplet_mask_refill'},
    'dc': {
      'triplet_images',
      'triplet_texts',
      'triplet_mask_refill',
      'discrimination_mask_refill',
      'correction_mask_refill',
    },
  }[phase]
  expected = {f'loss/{name}' for name in expected | {'mlm'}}
  for values in metrics:
    assert expected == {x for x in values if x.startswith('loss/')}
    assert all(np.isfinite(v) for v in values.values())
    assert values['loss/mlm'] > 0


def _program(seed, world_dir):
  task = tiny.make_task(tiny.make_settings('dc', world_dir, seed=seed))
  tx, state = tiny.make_state(task)
  [batch] = tiny.make_updates(task.settings, 1, 1)
  batch = jax.tree.map(lambda x: x[0], batch)
  assert int(batch.seed[0]) == seed
  return jax.jit(_make_step(task, tx, None)).lower(state, batch).as_text()


def test_the_step_has_no_host_callback_and_no_seed(world_dir):
  text = _program(0, world_dir)
  assert 'while' in text  # it is the program that we mean
  assert 'callback' not in text and 'infeed' not in text
  # Runs that differ in their seed find it in the compilation cache.
  assert _program(7, world_dir) == text


def test_draws_are_exactly_equal_on_any_number_of_devices(world_dir):
  config = tiny.make_settings('tags', world_dir)
  task = tiny.make_task(config)

  def draw(batches):
    def one(batch):
      draws = keys.micro_batch_keys(config.seed, jnp.int32(5), batch.number)
      masked = masking.mask_tokens(
        draws.mask,
        batch.texts.token_ids,
        batch.phrase_counts,
        num_copies=3,
        mask_rate=0.15,
        mask_id=task.mask_id,
        random_range=task.random_range,
      )
      return masked, refilling.draw_uniforms(draws.refill, 7, 4)

    return jax.lax.map(one, batches)

  drawn = {}
  for num_devices in (1, 2, 4):
    devices = parallel.local_devices(num_devices)
    [batch] = tiny.make_updates(config, num_devices, 1)
    result = parallel.pmap_function(draw, devices)(parallel.put(batch, devices))
    drawn[num_devices] = [
      parallel.gather(x).reshape(config.batch.micro_batches, -1)
      for x in jax.tree.leaves((result, parallel.put(batch, devices)))
    ]
  for other in (2, 4):
    for a, b in zip(drawn[1], drawn[other], strict=True):
      np.testing.assert_array_equal(a, b)
