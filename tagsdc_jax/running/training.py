"""One run: open, start or continue, train, evaluate, write results."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tagsdc_jax import errors, parallel, progress, settings, shipped
from tagsdc_jax.data import (assembling, dataset, loader, opening,
                             paired_loader)
from tagsdc_jax.models import retrieval
from tagsdc_jax.reporting import writer
from tagsdc_jax.running import (building, evaluation, folder, judging,
                                memory)
from tagsdc_jax.training import (checkpoints, initialising, loop, objectives,
                                 optimizer, passes, state, step)


@dataclasses.dataclass
class _Best:
  """Best validation so far; the run's only memory besides its state."""
  mean_r1: float = -1.0


def train(config: settings.Settings, run_dir: Path) -> dict[str, Any]:
  """Trains in a new run folder, or continues the run that lies there.

  Args:
    config: all settings.
    run_dir: the run's folder.
  Returns:
    what `results.json` holds: `phase`, `updates`, `evaluation` (test split),
    `measures` (of the embedded world, else None; see `measuring`),
    `validation`, `parameters_sha256`, `seconds`. What is evaluated is missing
    if the run stops before its last update.
  Raises:
    UserError: on bad settings, data or folder.
  """
  devices = parallel.local_devices(config.num_devices)
  data = opening.open_split(config.data, 'train')
  config = building.with_data_sizes(config, data)
  shapes = assembling.shapes_of(data)
  task = building.make_task(config, data, shapes)
  validation = opening.first_images(
      opening.open_split(config.data, 'validation'),
      config.evaluation.validation_images)
  # What is wrong with the test split shows now, not after the training.
  for split in (validation, opening.open_split(config.data, 'test')):
    building.check_data(config.model, split)

  source = _source(config, data, shapes)
  start = time.perf_counter()
  fresh = _fresh_state(task)
  # A wrong init_from must not leave a folder that is bound to it.
  started = None if folder.holds_run(run_dir) else _start_phase(task, fresh)
  with (folder.claimed(run_dir, config),
        contextlib.closing(checkpoints.Checkpoints(run_dir)) as saves,
        contextlib.closing(writer.MetricsWriter(run_dir)) as metrics,
        memory.explained(config, memory.TRAINING, devices)):
    saved = saves.newest(fresh)
    host_state = saved[0] if saved else started or _start_phase(task, fresh)
    best = _Best(saved[1]['best_mean_r1'] if saved else -1.0)
    first = int(host_state.update)
    last = min(config.stop_at_update or config.num_updates,
               config.num_updates)
    train_step = parallel.pmap_step(
        step.make_train_step(config, objectives.make_objective(task),
                             _optimizer(config), parallel.AXIS), devices)
    if first < last:
      train_step = _compile(train_step, config, source, host_state, devices)
    batches = loader.iterate_updates(
        source, micro_batches=config.batch.micro_batches, first_update=first,
        num_updates=last, num_devices=len(devices),
        process=jax.process_index(), num_processes=jax.process_count(),
        num_threads=config.data.num_threads,
        num_prefetched=config.data.num_prefetched)
    validate = _ValidationHook(task, saves, metrics, validation, devices,
                               best)
    with progress.progress_bar(last, config.phase, 'updates', first) as bar:
      hooks: list[loop.Hook] = [
          _ReportHook(config, metrics, bar, last),
          validate,
          _SaveHook(config, saves, best, last)]
      device_state = loop.run(
          train_step, parallel.replicate(host_state, devices), batches,
          devices=devices, first_update=first, last_update=last, hooks=hooks)
    final = parallel.first(device_state)
    saves.wait()
  return _finish(task, final, device_state.params, devices, data, validate,
                 run_dir, time.perf_counter() - start)


def _source(config: settings.Settings, data: dataset.RetrievalDataset,
            shapes: assembling.Shapes) -> loader.MicroBatches:
  is_pretraining = config.phase == 'pretrain'
  is_paired = config.quirks.other_caption and not is_pretraining
  kind = (paired_loader.PairedMicroBatches if is_paired
          else loader.MicroBatches)
  return kind(data, shapes, config.seed, config.batch.positives,
              0 if is_pretraining else config.negatives.pool_size)


def _optimizer(config: settings.Settings) -> Any:
  return optimizer.make_optimizer(config.optimizer, config.num_updates,
                                  objectives.UNTRAINED[config.phase])


def _compile(train_step: Callable, config: settings.Settings,
             source: loader.MicroBatches, host_state: state.TrainState,
             devices: list[jax.Device]) -> Callable:
  """Returns the step compiled; raises UserError if memory is too small."""
  shapes = loader.update_shapes(source, config.batch.micro_batches,
                                len(devices))
  memory.check_inputs(config, shapes, source.data)
  with progress.waiting('compiling the train step (usually 20 to 60 s)'):
    program = parallel.compile_step(train_step, host_state, shapes,
                                    len(devices))
  memory.check_program(config, program, devices)
  return program


def _fresh_state(task: passes.Task) -> state.TrainState:
  """Returns fresh parameters in host memory, and no updates done."""
  params = jax.tree.map(np.asarray, retrieval.init_parameters(
      task.model, jax.random.key(task.settings.seed)))
  moments = _optimizer(task.settings).init(params)
  return state.TrainState(np.int32(0), params,
                          jax.tree.map(np.asarray, moments))


def _start_phase(task: passes.Task,
                 fresh: state.TrainState) -> state.TrainState:
  """Returns the state that a phase begins with, from `init_from` if given."""
  config = task.settings
  params, came_from = fresh.params, 'pretrain'
  if config.init_from:
    loaded = checkpoints.load(shipped.find(config.init_from))
    checkpoints.check_model(loaded, config)
    checkpoints.check_parameters(loaded.parameters, params, loaded.path)
    params, came_from = loaded.parameters, loaded.about['phase']
    if (settings.PHASES.index(came_from)
        > settings.PHASES.index(config.phase)):
      raise errors.UserError(
          f'init_from = {config.init_from} was trained in phase {came_from}, '
          f'which comes after {config.phase}; give an earlier one')
  start = (initialising.start_heads_as_released
           if config.quirks.reset_rank_head else initialising.start_heads)
  params = start(params, came_from, config.phase)
  return dataclasses.replace(fresh, params=params)


class _ReportHook:
  """Writes metrics every `log_every` updates and moves the bar."""

  def __init__(self, config: settings.Settings, metrics: writer.MetricsWriter,
               bar: Any, last: int) -> None:
    self._every, self._metrics, self._bar = config.log_every, metrics, bar
    self._last = last

  def __call__(self, update: int, _: state.TrainState,
               values: dict[str, float]) -> None:
    self._bar.update(1)
    if update % self._every == 0 or update == self._last:
      self._bar.set_postfix_str(f'loss {values["loss"]:.4f}', refresh=False)
      self._metrics.write(update, 'train', values)


class _ValidationHook:
  """Evaluates on the validation subset and keeps the best checkpoint."""

  final: dict[str, Any] | None = None  # The result after the last update.

  def __init__(self, task: passes.Task, saves: checkpoints.Checkpoints,
               metrics: writer.MetricsWriter,
               data: dataset.RetrievalDataset, devices: list[jax.Device],
               best: _Best) -> None:
    self._task, self._saves, self._metrics = task, saves, metrics
    self._data, self._devices, self._best = data, devices, best

  def evaluate(self, params: Any) -> dict[str, Any]:
    """Returns the result of replicated parameters on the subset."""
    config = self._task.settings
    result, _ = evaluation.evaluate_split(
        self._task.model, params, self._data, config, config.phase,
        self._devices)
    return result

  def __call__(self, update: int, device_state: state.TrainState,
               _: dict[str, float]) -> None:
    config = self._task.settings
    is_end = update == config.num_updates
    is_due = config.eval_every and update % config.eval_every == 0
    if not (is_due or is_end):
      return
    result = self.evaluate(device_state.params)
    self.final = result if is_end else None
    scalars = {f'{way.split("_")[0]}_{k}': v
               for way in ('image_retrieval', 'text_retrieval')
               for k, v in result[way].items()}
    scalars |= {k: result[k] for k in ('mean_r1', 'seconds',
                                       'pairs_per_second')}
    self._metrics.write(update, 'validation', scalars)
    if result['mean_r1'] > self._best.mean_r1:
      self._best.mean_r1 = result['mean_r1']
      self._saves.save('best', parallel.first(device_state),
                       _about(config, self._best, result))


class _SaveHook:
  """Saves the newest state, and those to be kept."""

  def __init__(self, config: settings.Settings,
               saves: checkpoints.Checkpoints, best: _Best,
               last: int) -> None:
    self._config, self._saves, self._best = config, saves, best
    self._last = last

  def __call__(self, update: int, device_state: state.TrainState,
               _: dict[str, float]) -> None:
    kinds = []
    if update % self._config.checkpoint_every == 0 or update == self._last:
      kinds.append('newest')
    if update in self._config.keep_at_updates:
      kinds.append('kept')
    if kinds:
      host_state = parallel.first(device_state)
      for kind in kinds:
        self._saves.save(kind, host_state, _about(self._config, self._best))


def _about(config: settings.Settings, best: _Best,
           result: dict[str, Any] | None = None) -> dict[str, Any]:
  about = {'phase': config.phase, 'best_mean_r1': best.mean_r1,
           'settings': settings.flatten(config),
           'versions': folder.versions()}
  return about | ({'validation': result} if result else {})


def _finish(task: passes.Task, final: state.TrainState, device_params: Any,
            devices: list[jax.Device], train_data: dataset.RetrievalDataset,
            validate: _ValidationHook, run_dir: Path,
            seconds: float) -> dict[str, Any]:
  """Evaluates a run that has ended and writes `results.json`."""
  config = task.settings
  results: dict[str, Any] = {
      'phase': config.phase, 'updates': int(final.update),
      'parameters_sha256': building.parameters_sha256(final.params),
      'seconds': seconds}
  if int(final.update) == config.num_updates:
    # A run that was finished before has nothing in memory.
    results['validation'] = validate.final or validate.evaluate(device_params)
    results |= judging.judge(task.model, device_params, config, config.phase,
                             train_data, devices)
  folder.write_json(run_dir / folder.RESULTS, results)
  return results
