"""Twenty updates in this process of several; prints nothing, writes results.

  python -m tests.processes OUT WORLD_DIR PHASE

Every process writes the hashes of what it drew as OUT/draws_INDEX.json, the
first one the losses as OUT/losses.json.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import jax
import numpy as np

from tagsdc_jax import distributed, parallel
from tagsdc_jax.data import loader
from tagsdc_jax.negatives import masking, refilling
from tagsdc_jax.training import keys, loop, objectives, step
from tests import tiny

UPDATES, MICRO_BATCHES = 20, 4


def make_settings(phase, data_dir):
  """Settings whose programs compile quickly."""
  config = tiny.make_settings(phase, data_dir, num_updates=UPDATES)
  return dataclasses.replace(
      config,
      model=dataclasses.replace(config.model, num_layers=1),
      compute=dataclasses.replace(config.compute, num_widths=1),
      optimizer=dataclasses.replace(config.optimizer, learning_rate=1e-3))


def run_phase(config, devices):
  """Returns {update: loss}, {micro-batch: hash of its draws}, parameters."""
  task = tiny.make_task(config)
  source = tiny.make_source(config)
  tx, host_state = tiny.make_state(task)
  everywhere = parallel.all_devices(devices)
  draw = parallel.pmap_function(_make_draw(task), devices)
  program = parallel.compile_step(
      parallel.pmap_step(step.make_train_step(
          config, objectives.make_objective(task), tx, parallel.AXIS),
                         everywhere),
      host_state, loader.update_shapes(source, MICRO_BATCHES, len(devices),
                                       jax.process_count()), len(devices))
  losses, draws = {}, {}

  def batches():
    for batch in loader.iterate_updates(
        source, micro_batches=MICRO_BATCHES, first_update=0,
        num_updates=UPDATES, num_devices=len(devices),
        process=jax.process_index(), num_processes=jax.process_count(),
        num_threads=1, num_prefetched=1):
      on_device = draw(parallel.put(batch, devices))
      drawn = [np.asarray(x) for x in jax.tree.leaves(batch)]
      drawn += [parallel.gather(x) for x in jax.tree.leaves(on_device)]
      for place in np.ndindex(batch.number.shape):
        digest = hashlib.sha256(b''.join(x[place].tobytes() for x in drawn))
        draws[int(batch.number[place])] = digest.hexdigest()
      yield batch

  state, done = loop.run(
      program, parallel.replicate(host_state, everywhere), batches(),
      devices=everywhere, first_update=0, last_update=UPDATES,
      report=lambda update, values: losses.update({update: values['loss']}),
      hooks=[], is_stopping=lambda: False, explain=str)
  assert done == UPDATES
  return losses, draws, parallel.first(state).params


def _make_draw(task):
  """Masks and refills of a device's micro-batches, as the step draws them."""
  config = task.settings

  def one(batch):
    own = keys.micro_batch_keys(config.seed, batch.number // MICRO_BATCHES,
                                batch.number)
    masked = masking.mask_tokens(
        own.mask, batch.texts.token_ids, batch.phrase_counts,
        num_copies=config.negatives.num_copies,
        mask_rate=config.negatives.mask_rate, mask_id=task.mask_id,
        random_range=task.random_range)
    uniforms = refilling.draw_uniforms(own.refill, 7,
                                       config.negatives.num_samples)
    return masked, uniforms, jax.random.uniform(own.dropout, (3,))
  return lambda batches: jax.lax.map(one, batches)


def main():
  """Runs this process's part."""
  out, data_dir, phase = Path(sys.argv[1]), *sys.argv[2:4]
  distributed.start()
  losses, draws, _ = run_phase(make_settings(phase, data_dir),
                               parallel.local_devices(0))
  (out / f'draws_{jax.process_index()}.json').write_text(json.dumps(draws))
  if distributed.is_first():
    (out / 'losses.json').write_text(json.dumps(losses))


if __name__ == '__main__':
  main()
