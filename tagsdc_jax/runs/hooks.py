"""What a run does between updates: metrics, checkpoints, validation, trace."""

import dataclasses
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from tagsdc_jax import settings
from tagsdc_jax.reporting import writer
from tagsdc_jax.runs import folder
from tagsdc_jax.runtime import parallel, progress, watchdog
from tagsdc_jax.training import checkpoints, state

# Updates to observe before a warning about slow inputs.
_ENOUGH = 20
_AVERAGED = ('seconds', 'seconds_input', 'seconds_hooks', 'gflop_per_positive')


@dataclasses.dataclass
class Best:
  """Best validation so far; a run's only state besides its train state."""

  mean_r1: float = -1.0


class Report:
  """Advances the bar; writes metrics and a line every `log_every` updates."""

  def __init__(
    self,
    config: settings.Settings,
    metrics: writer.Metrics,
    bar: Any,
    last: int,
    devices: list[jax.Device],
    peak: float,
  ) -> None:
    """Creates the report.

    Args:
      config: all settings.
      metrics: the writer of metrics.
      bar: from `progress.progress_bar`.
      last: the last update.
      devices: those of all processes.
      peak: the peak FLOP/s of one device.
    """
    self._config, self._metrics, self._bar = config, metrics, bar
    self._last, self._devices, self._peak = last, devices, peak
    self._since: list[dict[str, float]] = []
    self._late = self._seen = 0

  def __call__(self, update: int, values: dict[str, float]) -> None:
    """Takes the metrics of an update; reports times and work as means."""
    self._bar.update(1)
    self._watch_input(values.pop('input_late'))
    self._since.append({name: values[name] for name in _AVERAGED})
    if update % self._config.log_every and update != self._last:
      return
    values |= {
      name: sum(v[name] for v in self._since) / len(self._since)
      for name in _AVERAGED
    }
    self._since = []
    batch = self._config.batch
    pace = (
      batch.positives
      * batch.micro_batches
      / max(values['seconds'] - values['seconds_hooks'], 1e-9)
    )
    flops = pace * values['gflop_per_positive'] * 1e9 / len(self._devices)
    values |= {
      'positives_per_second_per_device': pace / len(self._devices),
      'flop_per_second_per_device': flops,
      'share_of_peak': flops / self._peak,
    }
    self._bar.set_postfix_str(
      f'loss {values["loss"]:.4f}, {pace:,.1f} positives/s', refresh=False
    )
    progress.tell(self._bar)
    self._metrics.write(update, 'train', values | _memory(self._devices))

  def _watch_input(self, is_late: float) -> None:
    """Prints one warning if the devices mostly wait for data."""
    self._seen, self._late = self._seen + 1, self._late + int(is_late)
    if self._seen == _ENOUGH and self._late > _ENOUGH / 2:
      print(
        f'the devices waited for data in {self._late} of the first '
        f'{_ENOUGH} updates; raise data.num_threads or '
        'data.num_prefetched',
        file=sys.stderr,
        flush=True,
      )


def _memory(devices: list[jax.Device]) -> dict[str, float]:
  """Returns bytes in use: current and peak of the host, peak of a device."""
  kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  host = {'host_peak_bytes': kilobytes * 1024.0}
  pages = Path('/proc/self/statm')  # Linux.
  if pages.exists():
    host['host_bytes'] = float(
      int(pages.read_text('ascii').split()[1]) * resource.getpagesize()
    )
  own = [d for d in devices if d.process_index == jax.process_index()]
  held = (own[0].memory_stats() or {}).get('peak_bytes_in_use')
  return host | ({} if held is None else {'device_peak_bytes': float(held)})


class Save:
  """Saves the newest state, and those to keep.

  Also saves before a validation, which may be long, and on an early stop.
  """

  def __init__(
    self,
    config: settings.Settings,
    saves: checkpoints.Checkpoints,
    best: Best,
    last: int,
  ) -> None:
    self._config, self._saves, self._best = config, saves, best
    self._last = last

  def is_due(self, update: int) -> bool:
    """See `loop.Hook`."""
    return self._newest_is_due(update) or self._is_kept(update)

  def __call__(
    self, update: int, train_state: state.TrainState, is_stopping: bool
  ) -> None:
    """See `loop.Hook`."""
    host_state = parallel.first(train_state)
    about = about_run(self._config, self._best)
    if self._is_kept(update):
      self._saves.save('kept', host_state, about)
    if is_stopping or self._newest_is_due(update):
      self._saves.save('newest', host_state, about)

  def _newest_is_due(self, update: int) -> bool:
    return update > 0 and (
      update % self._config.checkpoint_every == 0
      or update == self._last
      or is_validation_due(self._config, update)
    )

  def _is_kept(self, update: int) -> bool:
    return update in self._config.keep_at_updates


class Validation:
  """Evaluates on the validation subset and keeps the best checkpoint.

  A run that resumes from an update with a validation repeats it, because the
  state is saved before the validation.
  """

  final: dict[str, Any] | None = None  # The result after the last update.

  def __init__(
    self,
    config: settings.Settings,
    saves: checkpoints.Checkpoints,
    metrics: writer.Metrics,
    best: Best,
    evaluate: Callable[[Any], dict[str, Any]],
  ) -> None:
    """Creates the hook; `evaluate` takes parameters on local devices."""
    self._config, self._saves, self._metrics = config, saves, metrics
    self._best, self._evaluate = best, evaluate

  def is_due(self, update: int) -> bool:
    """See `loop.Hook`."""
    return is_validation_due(self._config, update)

  def __call__(
    self, update: int, train_state: state.TrainState, is_stopping: bool
  ) -> None:
    """See `loop.Hook`."""
    if is_stopping:
      return
    result = self._evaluate(parallel.local(train_state.params))
    self.final = result if update == self._config.num_updates else None
    scalars = {
      f'{way.split("_")[0]}_{k}': v
      for way in ('image_retrieval', 'text_retrieval')
      for k, v in result[way].items()
    }
    scalars |= {
      k: result[k] for k in ('mean_r1', 'seconds', 'pairs_per_second')
    }
    self._metrics.write(update, 'validation', scalars)
    if result['mean_r1'] > self._best.mean_r1:
      self._best.mean_r1 = result['mean_r1']
      self._saves.save(
        'best',
        parallel.first(train_state),
        about_run(self._config, self._best, result),
      )


class Profile:
  """Writes a trace of the updates in the setting `profile`, e.g. "10-12"."""

  def __init__(
    self,
    config: settings.Settings,
    run_dir: Path,
    watch: watchdog.Watch = watchdog.UNWATCHED,
  ) -> None:
    self._watch = watch
    self._first, last = settings.profiled_updates(config.profile)
    # A trace is written only when it is stopped.
    self._last = min(
      last, config.stop_at_update or config.num_updates, config.num_updates
    )
    if self._first > self._last:
      self._last = 0
    self._path, self._is_running = run_dir / 'profile', False

  def is_due(self, update: int) -> bool:
    """See `loop.Hook`."""
    return self._last > 0 and update in (self._first - 1, self._last)

  def __call__(
    self, update: int, train_state: state.TrainState, is_stopping: bool
  ) -> None:
    """See `loop.Hook`."""
    if self._is_running:
      with self._watch.during(watchdog.TRACING):
        jax.profiler.stop_trace()
    elif update == self._first - 1 and not is_stopping:
      jax.profiler.start_trace(str(self._path))
      self._is_running = True
      return
    self._is_running = False


def is_ranked(config: settings.Settings) -> bool:
  """Returns whether a run trains the score that pictures are ranked by."""
  return config.phase != 'pretrain' or config.negatives.num_in_batch > 0


def is_validation_due(config: settings.Settings, update: int) -> bool:
  """Returns whether an update is followed by a validation."""
  if not is_ranked(config):
    return False
  return update == config.num_updates or bool(
    config.eval_every and update and update % config.eval_every == 0
  )


def about_run(
  config: settings.Settings, best: Best, result: dict[str, Any] | None = None
) -> dict[str, Any]:
  """Returns the metadata of a checkpoint.

  Args:
    config: all settings.
    best: the best validation so far.
    result: of the validation that selected the checkpoint.
  """
  about = {
    'phase': config.phase,
    'best_mean_r1': best.mean_r1,
    'settings': settings.flatten(config),
    'versions': folder.versions(),
  }
  return about | ({'validation': result} if result else {})
