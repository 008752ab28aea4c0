"""Ten updates in this process of several; prints nothing, writes results.

  python -m tests.processes OUT WORLD_DIR PHASE

Goes on from the newest checkpoint in OUT and saves another one in the middle.
Every process writes the hashes of what it drew as OUT/draws_INDEX.json, the
first one the losses as OUT/losses.json and the scores of a validation as
OUT/scores.npy.
"""

import dataclasses
import functools
import hashlib
import json
import sys
from pathlib import Path

import jax
import numpy as np

from tagsdc_jax.data import loader, opening
from tagsdc_jax.negatives import masking, refilling
from tagsdc_jax.runs import evaluation, setup
from tagsdc_jax.runtime import distributed, parallel
from tagsdc_jax.training import (
  checkpoints,
  device_feed,
  keys,
  loop,
  state,
  step,
)
from tests import tiny

UPDATES, MICRO_BATCHES = 12, 4
# Where the run is handed over to several processes, and back to one.
HANDED_OVER, HANDED_BACK = 2, 7


@dataclasses.dataclass(frozen=True)
class Ran:
  """What a run did: {update: loss}, {micro-batch: hash of its draws}."""

  losses: dict[int, float]
  draws: dict[int, str]
  state: state.TrainState


class _SaveAt:
  """A hook that saves once."""

  def __init__(self, saves, update):
    self._saves, self._update = saves, update

  def is_due(self, update):
    return update == self._update

  def __call__(self, update, train_state, is_stopping):
    self._saves.save('newest', parallel.first(train_state), {'phase': 'dc'})


def make_settings(phase, data_dir):
  """Settings whose programs compile quickly."""
  config = tiny.make_settings(phase, data_dir, num_updates=UPDATES)
  # Sums over other devices round differently. With seed 0 that turns over one
  # choice among near equals in one of the updates compared, and its loss.
  return dataclasses.replace(
    config,
    seed=1,
    evaluation=dataclasses.replace(
      config.evaluation, tile_texts=40, tile_images=2
    ),
    optimizer=dataclasses.replace(config.optimizer, learning_rate=1e-3),
  )


@functools.cache
def _programs(config, devices):
  """Returns the step, compiled, what draws for a look, and a fresh state."""
  task = tiny.make_task(config)
  tx, fresh = tiny.make_state(task)
  shapes = loader.update_shapes(
    tiny.make_source(config), MICRO_BATCHES, len(devices), jax.process_count()
  )
  program = parallel.compile_step(
    parallel.pmap_step(
      step.make_train_step(
        config, setup.make_phase(task).objective, tx, parallel.AXIS
      ),
      parallel.all_devices(devices),
    ),
    (fresh, parallel.of_one_device(shapes)),
    len(devices),
  )
  return program, parallel.pmap_function(_make_draw(task), devices), fresh


def run_phase(config, devices, run_dir, save_at):
  """Goes on from the newest checkpoint in the folder to the last update."""
  source = tiny.make_source(config)
  everywhere = parallel.all_devices(devices)
  program, draw, host_state = _programs(config, tuple(devices))
  saves = checkpoints.Checkpoints(run_dir)
  saved = saves.newest(host_state)
  host_state = saved[0] if saved else host_state
  first = int(host_state.update)
  losses, draws = {}, {}

  def batches():
    for batch in loader.iterate_updates(
      source,
      micro_batches=MICRO_BATCHES,
      first_update=first,
      num_updates=UPDATES,
      num_devices=len(devices),
      process=jax.process_index(),
      num_processes=jax.process_count(),
      num_threads=1,
      num_prefetched=1,
    ):
      on_device = draw(parallel.put(batch, devices))
      drawn = [np.asarray(x) for x in jax.tree.leaves(batch)]
      drawn += [parallel.gather(x) for x in jax.tree.leaves(on_device)]
      for place in np.ndindex(batch.number.shape):
        digest = hashlib.sha256(b''.join(x[place].tobytes() for x in drawn))
        draws[int(batch.number[place])] = digest.hexdigest()
      yield batch

  device_state, done = loop.run(
    device_feed.Programs(program),
    parallel.replicate(host_state, everywhere),
    batches(),
    devices=everywhere,
    first_update=first,
    last_update=UPDATES,
    report=lambda update, values: losses.update({update: values['loss']}),
    hooks=[_SaveAt(saves, save_at)],
    is_stopping=lambda: False,
    explain=str,
  )
  assert done == UPDATES
  saves.close()
  return Ran(losses, draws, parallel.first(device_state))


def validate(config, devices):
  """Returns the fresh network's scores of eight images, of all processes."""
  data = opening.first_images(opening.open_split(config.data, 'validation'), 8)
  fresh = tiny.make_state(tiny.make_task(config))[1]
  return evaluation.evaluate(
    setup.make_model(setup.with_data_sizes(config, data)),
    parallel.replicate(fresh.params, devices),
    data,
    config,
    config.phase,
    devices,
  ).scores.matrix


def _make_draw(task):
  """Masks and refills of a device's micro-batches, as the step draws them."""
  config = task.settings

  def one(batch):
    own = keys.micro_batch_keys(
      config.seed, batch.number // MICRO_BATCHES, batch.number
    )
    masked = masking.mask_tokens(
      own.mask,
      batch.texts.token_ids,
      batch.phrase_counts,
      num_copies=config.negatives.num_copies,
      mask_rate=config.negatives.mask_rate,
      mask_id=task.mask_id,
      random_range=task.random_range,
    )
    uniforms = refilling.draw_uniforms(
      own.refill, 7, config.negatives.num_samples
    )
    return masked, uniforms, jax.random.uniform(own.dropout, (3,))

  return lambda batches: jax.lax.map(one, batches)


def main():
  """Runs this process's part."""
  out, data_dir, phase = Path(sys.argv[1]), *sys.argv[2:4]
  distributed.start()
  config, devices = make_settings(phase, data_dir), parallel.local_devices(0)
  ran = run_phase(config, devices, out, HANDED_BACK)
  scores = validate(config, devices)
  (out / f'draws_{jax.process_index()}.json').write_text(json.dumps(ran.draws))
  if distributed.is_first():
    (out / 'losses.json').write_text(json.dumps(ran.losses))
    np.save(out / 'scores.npy', scores)


if __name__ == '__main__':
  main()
