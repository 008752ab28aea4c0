"""Compiles the programs of an update and checks that they fit in memory."""

from typing import Any

import jax
import optax

from tagsdc_jax.data import loader
from tagsdc_jax.engines import engine
from tagsdc_jax.runtime import memory, parallel, progress
from tagsdc_jax.training import device_feed, state, step


def num_slices(task: engine.Task, devices: list[jax.Device]) -> int:
  """Returns the number of slices in which an update's inputs arrive.

  Raises:
    UserError: if devices or slices do not divide the micro-batches evenly.
  """
  config = task.settings
  return loader.count_slices(
    config.batch.micro_batches,
    len(devices) * jax.process_count(),
    config.compute.micro_batches_at_once,
  )


def compile_update(
  task: engine.Task,
  minimized: step.Objective,
  tx: optax.GradientTransformation,
  source: loader.MicroBatches,
  host_state: state.TrainState,
  devices: list[jax.Device],
) -> device_feed.Programs:
  """Compiles the update for the devices of all processes.

  It is one program if the inputs arrive at once. Otherwise all slices go
  through the same program, which accounts for nearly all of the compilation,
  and another one updates the parameters.

  Args:
    task: network and settings.
    minimized: the objective.
    tx: the optimizer.
    source: micro-batches by number.
    host_state: host arrays; only shapes are read.
    devices: this process's.
  Raises:
    UserError: if there is not enough memory.
  """
  config = task.settings
  slices = num_slices(task, devices)
  inputs = loader.update_shapes(
    source,
    config.batch.micro_batches,
    len(devices),
    jax.process_count(),
    slices,
  )
  memory.check_inputs(config, inputs, source.data.region_bytes)
  batch = parallel.of_one_device(inputs)

  def build(function: Any, donated: tuple[int, ...], *arguments: Any) -> Any:
    program = parallel.compile_step(
      parallel.pmap_step(function, parallel.all_devices(devices), donated),
      arguments,
      len(devices),
    )
    memory.check_program(config, program, devices)
    return program

  with progress.waiting('compiling the train step (usually 20 to 60 s)'):
    if slices == 1:
      return device_feed.Programs(
        build(
          step.make_train_step(config, minimized, tx, parallel.AXIS),
          (0,),
          host_state,
          batch,
        )
      )
    start = step.make_start(config, minimized, batch)
    sums = jax.eval_shape(start, host_state)
    return device_feed.Programs(
      step=build(
        step.make_update(config, tx, parallel.AXIS), (0,), host_state, sums
      ),
      start=build(start, (), host_state),
      accumulate=build(
        step.make_accumulate(config, minimized), (0,), sums, host_state, batch
      ),
      num_slices=slices,
    )
