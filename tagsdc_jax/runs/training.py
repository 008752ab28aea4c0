"""One run: open, start or continue, train, evaluate, write results."""

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import jax

from tagsdc_jax import files, settings
from tagsdc_jax.data import assembling, dataset, loader, opening, overlaps
from tagsdc_jax.engines import engine
from tagsdc_jax.models import retrieval
from tagsdc_jax.released import paired_batches
from tagsdc_jax.reporting import writer
from tagsdc_jax.runs import (
  compiling,
  evaluation,
  folder,
  hooks,
  judging,
  lock,
  setup,
  starting,
)
from tagsdc_jax.runtime import (
  distributed,
  hashing,
  memory,
  parallel,
  peak_flop,
  preemption,
  progress,
  watchdog,
)
from tagsdc_jax.training import checkpoints, loop, optimizer, state


def train(config: settings.Settings, run_dir: Path) -> dict[str, Any]:
  """Trains in a new run folder, or continues the run in it.

  All processes of a run call it with the same arguments; the first one writes
  the files.

  Args:
    config: all settings.
    run_dir: the run's folder, on a disk that all processes share.
  Returns:
    the contents of `results.json`: `phase`, `updates`, `evaluation` (test
    split), `measures` (of the embedded world, else None; see
    `world_measures`), `validation`, `in_train` (how many images and captions
    of each of these splits are also in train), `parameters_sha256`, `seconds`.
    Evaluation results are missing if the run stops before its last update.
  Raises:
    UserError: for bad settings, data or folder.
    Stopped: if the run was asked to stop; its state is saved.
  """
  start = time.perf_counter()
  starting.check_given(config)
  notice = preemption.Notice(
    config.stop_seconds,
    f'{run_dir}: run the same command again to continue',
    preemption.exit_code(),
  )
  with notice.listening(), contextlib.ExitStack() as whole_run:
    if jax.process_count() > 1:
      # No process may stop alone: they agree on it after an update.
      whole_run.enter_context(notice.deferring())
    return _train(config, run_dir, notice, whole_run, start)


def _train(
  config: settings.Settings,
  run_dir: Path,
  notice: preemption.Notice,
  whole_run: contextlib.ExitStack,
  start: float,
) -> dict[str, Any]:
  devices = parallel.local_devices(config.num_devices)
  everywhere = parallel.all_devices(devices)
  data = opening.open_split(config.data, 'train', config.extensions)
  config = setup.with_data_sizes(config, data)
  shapes = assembling.shapes_of(data)
  task = setup.make_task(config, data, shapes)
  phase = setup.make_phase(task)
  memory.check_network(
    config, retrieval.parameter_shapes(task.model), phase.needs_start
  )
  splits = {
    split: opening.open_split(config.data, split, config.extensions)
    for split in ('validation', 'test')
  }
  validation = opening.first_images(
    splits['validation'], config.evaluation.validation_images
  )
  # Problems with the test split show up now, not after training.
  for split in (validation, splits['test']):
    setup.check_data(config.model, split)
    dataset.check_same_vocabulary(data, split)

  source = _source(config, data, shapes)
  slices = compiling.num_slices(task, devices)
  tx = optimizer.make_optimizer(
    config.optimizer, config.num_updates, phase.untrained
  )
  fresh = starting.fresh_state(task, tx, phase.needs_start)
  # A wrong init_from must not leave behind a folder that requires it.
  started = (
    None if folder.holds_run(run_dir) else starting.start_phase(task, fresh)
  )
  watch = watchdog.Watch(config.hang_seconds)
  run_lock = whole_run.enter_context(folder.claimed(run_dir, config))
  with contextlib.ExitStack() as stack:
    saves = stack.enter_context(
      contextlib.closing(
        checkpoints.Checkpoints(run_dir, watch, run_lock.check)
      )
    )
    host_state, best = _restore(saves, fresh)
    in_train = _find_overlaps(config, data, splits)
    if not int(host_state.update):
      host_state = started or starting.start_phase(task, fresh)
    first = int(host_state.update)
    metrics = stack.enter_context(
      contextlib.closing(
        writer.MetricsWriter(
          run_dir,
          first,
          watch,
          run_lock.check,
          {'precision': retrieval.precision(task.model)},
        )
        if distributed.is_first()
        else writer.NoMetrics()
      )
    )
    stack.enter_context(memory.explained(config, memory.TRAINING, devices))
    last = min(config.stop_at_update or config.num_updates, config.num_updates)
    programs = (
      None
      if first >= last
      else compiling.compile_update(
        task, phase.objective, tx, source, host_state, devices
      )
    )
    batches = watch.each(
      watchdog.DATA,
      loader.iterate_updates(
        source,
        micro_batches=config.batch.micro_batches,
        first_update=first,
        num_updates=last,
        num_devices=len(devices),
        process=jax.process_index(),
        num_processes=jax.process_count(),
        num_threads=config.data.num_threads,
        num_prefetched=config.data.num_prefetched,
        num_slices=slices,
      ),
    )

    def evaluate(params: Any) -> dict[str, Any]:
      with notice.interrupting():
        return evaluation.evaluate(
          task.model,
          params,
          validation,
          config,
          config.phase,
          devices,
          watch=watch,
        ).result

    validate = hooks.Validation(config, saves, metrics, best, evaluate)
    bar = stack.enter_context(
      progress.progress_bar(
        last, config.phase, 'updates', first, is_shown=distributed.is_first()
      )
    )
    stack.enter_context(notice.deferring())
    device_state, done = loop.run(
      programs,
      parallel.replicate(host_state, everywhere),
      batches,
      devices=everywhere,
      first_update=first,
      last_update=last,
      report=hooks.Report(
        config,
        metrics,
        bar,
        last,
        everywhere,
        peak_flop.flop_per_second(
          devices[0], config.compute.dtype, config.compute.matmul_precision
        ),
      ),
      hooks=[
        hooks.Profile(config, run_dir, watch),
        hooks.Save(config, saves, best, last),
        validate,
      ],
      is_stopping=lambda: notice.is_given,
      explain=lambda number: _describe(source, number),
      watch=watch,
    )
    final = parallel.first(device_state)
    distributed.on_first(saves.wait)
  if done < last:
    raise notice.stopped(
      f'asked to stop, saved after update {done} of {config.num_updates}'
    )
  with notice.interrupting():
    return _finish(
      task,
      final,
      device_state,
      devices,
      data,
      validate.final,
      in_train,
      run_dir,
      run_lock,
      time.perf_counter() - start,
    )


def _find_overlaps(
  config: settings.Settings,
  train: dataset.RetrievalDataset,
  splits: dict[str, dataset.RetrievalDataset],
) -> dict[str, Any]:
  """Returns what each split shares with train; the first process prints it."""
  found = {}
  contents = dataset.contents_of(train)
  for name, split in splits.items():
    overlap = overlaps.find(name, split, 'train', contents)
    found[name] = overlap.counts()
    # Equal captions of different pictures are normal in the world's grammar.
    is_news = overlap and (overlap.images or config.data.source != 'world')
    if is_news and distributed.is_first():
      print(overlap, file=sys.stderr, flush=True)
  return found


def _restore(
  saves: checkpoints.Checkpoints, fresh: state.TrainState
) -> tuple[state.TrainState, hooks.Best]:
  """Returns the newest intact state and the best validation, or fresh ones."""
  saved = saves.newest(fresh)
  host_state, best = (
    (saved[0], hooks.Best(saved[1]['best_mean_r1']))
    if saved
    else (fresh, hooks.Best())
  )
  update = int(host_state.update)
  distributed.check_equal(update, 'the update that the run resumes from')
  saves.put_aside(update)
  return host_state, best


def _describe(source: loader.MicroBatches, number: int) -> str:
  """Returns the captions of a micro-batch, for a message."""
  ids = [
    source.data.captions[i].caption_id for i in source.caption_numbers(number)
  ]
  return f'micro-batch {number} with captions {", ".join(ids)}'


def _source(
  config: settings.Settings,
  data: dataset.RetrievalDataset,
  shapes: assembling.Shapes,
) -> loader.MicroBatches:
  is_pretraining = config.phase == 'pretrain'
  is_paired = config.quirks.other_caption and not is_pretraining
  kind = paired_batches.PairedMicroBatches if is_paired else loader.MicroBatches
  return kind(
    data,
    shapes,
    config.seed,
    config.batch.positives,
    0 if is_pretraining else config.negatives.pool_size,
  )


def _finish(
  task: engine.Task,
  final: state.TrainState,
  device_state: state.TrainState,
  devices: list[jax.Device],
  train_data: dataset.RetrievalDataset,
  validated: dict[str, Any] | None,
  in_train: dict[str, Any],
  run_dir: Path,
  run_lock: lock.Lock,
  seconds: float,
) -> dict[str, Any]:
  """Evaluates a run, if it is complete, and writes `results.json`."""
  config = task.settings
  results: dict[str, Any] = {
    'phase': config.phase,
    'updates': int(final.update),
    'parameters_sha256': hashing.parameters_sha256(final.params),
    'seconds': seconds,
  }
  if int(final.update) == config.num_updates:
    results['validation'] = validated
    results['in_train'] = in_train
    results |= (
      judging.judge(
        task.model,
        parallel.local(device_state.params),
        config,
        config.phase,
        train_data,
        devices,
        parallel.local(device_state.start_params),
      )
      if hooks.is_ranked(config) and config.evaluation.test_after_training
      else {'evaluation': {}, 'measures': {}}
    )

  def write() -> None:
    run_lock.check()
    with watchdog.Watch(config.hang_seconds).during(watchdog.WRITING):
      files.write_json(run_dir / folder.RESULTS, results)

  distributed.on_first(write)
  return results
