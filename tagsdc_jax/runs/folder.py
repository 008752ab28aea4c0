"""The run folder: its config, and which settings a continued run may change."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files, settings
from tagsdc_jax.runs import lock
from tagsdc_jax.runtime import distributed
from tagsdc_jax.training import checkpoints, restoring

CONFIG, RESULTS = 'config.json', 'results.json'
METRICS = 'metrics.jsonl'
_PACKAGES = (
  'tagsdc_jax',
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'numpy',
)


def holds_run(run_dir: Path) -> bool:
  """Returns whether a run has been started in the folder."""
  with errors.named(run_dir, 'read'):
    return (run_dir / CONFIG).exists()


@contextmanager
def held(run_dir: Path) -> Iterator[lock.Lock]:
  """Creates the folder and locks it against other runs, in the first process.

  Raises:
    UserError: if another run is using it, or the file system refuses.
  """
  run_lock = lock.Lock(
    run_dir / lock.NAME, 'wait for it or stop it, or pass another --run-dir'
  )

  def hold() -> None:
    with errors.named(run_dir):
      run_dir.mkdir(parents=True, exist_ok=True)
    stack.enter_context(run_lock.held())

  with ExitStack() as stack:
    distributed.on_first(hold)
    yield run_lock


@contextmanager
def claimed(run_dir: Path, config: settings.Settings) -> Iterator[lock.Lock]:
  """Locks and claims the folder; clears it if the run ends with nothing saved.

  The next attempt can then use other settings, as the error message may ask.
  The first process does all of this.

  Yields:
    the lock, which the first process checks before it writes.
  Raises:
    UserError: see `held` and `claim`.
  """
  with held(run_dir) as run_lock:
    distributed.on_first(lambda: claim(run_dir, config))
    try:
      yield run_lock
    except (errors.UserError, errors.Stopped, KeyboardInterrupt):
      if (
        distributed.is_first()
        and run_lock.is_held()
        and not _has_saved(run_dir)
      ):
        for name in (CONFIG, METRICS):
          (run_dir / name).unlink(missing_ok=True)
        for name in ('checkpoints', 'tensorboard'):
          shutil.rmtree(run_dir / name, ignore_errors=True)
      raise


def claim(run_dir: Path, config: settings.Settings) -> None:
  """Creates the folder with its config, or checks that it has the same run.

  Raises:
    UserError: if the folder belongs to a run with other settings.
  """
  path = run_dir / CONFIG
  flat = settings.flatten(config)
  if not holds_run(run_dir):
    if not is_free(run_dir):
      raise errors.UserError(
        f'{run_dir} is not empty and contains no {CONFIG}; pass an empty or '
        'new folder as --run-dir'
      )
  else:
    _check_same(run_dir, settings_of(run_dir), flat)
  with errors.named(run_dir):
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, RESULTS, METRICS):  # Left by earlier versions.
      (run_dir / name).with_suffix('.partial').unlink(missing_ok=True)
  files.write_json(path, {'settings': flat, 'versions': versions()})


def is_free(run_dir: Path) -> bool:
  """Returns whether a folder is unused.

  It may contain a lock and what killed writes left behind.
  """
  with errors.named(run_dir, 'read'):
    return not run_dir.is_dir() or all(
      path.name == lock.NAME or files.is_leftover(path)
      for path in run_dir.iterdir()
    )


def check_not_of_a_run(path: Path) -> None:
  """Raises UserError if a file to be written is one of a run's own files.

  These are its settings, metrics, results, lock and checkpoints.
  """
  place = Path(os.path.realpath(path))
  for run_dir in place.parents:
    parts = place.relative_to(run_dir).parts
    if (
      (
        parts[0] == 'checkpoints'
        or parts in ((CONFIG,), (METRICS,), (RESULTS,), (lock.NAME,))
      )
      and (run_dir / CONFIG).is_file()
      and (run_dir / 'checkpoints').is_dir()
    ):
      raise errors.UserError(
        f'{path} is a file of the run in {run_dir} and would be replaced; '
        'pass another path'
      )


def check_same(run_dir: Path, config: settings.Settings) -> None:
  """Raises UserError if the folder's run has other settings.

  Args:
    run_dir: folder of a run.
    config: settings; sizes that they leave to the data may be anything.
  """
  before, now = settings_of(run_dir), settings.flatten(config)
  from_data = [name for name in checkpoints.FROM_DATA if not now[name]]
  _check_same(run_dir, before, now | {name: before[name] for name in from_data})


def _check_same(
  run_dir: Path, before: dict[str, Any], now: dict[str, Any]
) -> None:
  changed = [
    key
    for key in sorted(before.keys() | now.keys())
    if before.get(key) != now.get(key) and key not in settings.FREE_TO_CHANGE
  ]
  if not changed:
    return
  shown = '; '.join(
    f'{key} was {before.get(key)!r}, now {now.get(key)!r}'
    for key in changed[:3]
  )
  more = f' and {len(changed) - 3} more' if len(changed) > 3 else ''
  remedy = (
    'Give another --run-dir, or the same settings to continue'
    if _has_saved(run_dir)
    else 'It has saved nothing yet: if it has ended, remove the folder, or '
    'pass another --run-dir'
  )
  raise errors.UserError(
    f'run folder {run_dir} belongs to a run with other settings: {shown}'
    f'{more}; only {", ".join(settings.FREE_TO_CHANGE)} may change. '
    f'{remedy}'
  )


def _has_saved(run_dir: Path) -> bool:
  try:
    return any(
      restoring.by_update(run_dir / 'checkpoints' / kind)
      for kind in checkpoints.KINDS
    )
  except errors.UserError:
    return True  # Unreadable checkpoints may exist.


def read_config(run_dir: Path) -> dict[str, Any]:
  """Returns the settings in the folder, as a flat dict.

  Raises:
    UserError: if the folder contains no run.
  """
  path = run_dir / CONFIG
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
    return dict(content['settings'].items())
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise errors.UserError(
      f'{run_dir} contains no readable {CONFIG} of a run ({error}); pass a run '
      'folder'
    ) from error


def settings_of(run_dir: Path) -> dict[str, Any]:
  """Returns the folder's flat settings with this version's names.

  A setting that is younger than the folder had its default there, or what its
  preset sets.

  Raises:
    UserError: if there is no run in it.
  """
  flat = read_config(run_dir)
  return (
    settings.flatten(settings.Settings())
    | settings.PRESETS.get(str(flat.get('preset')), {})
    | settings.respelled(flat)
  )


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the packages."""
  return {
    'python': platform.python_version(),
    **{name: metadata.version(name) for name in _PACKAGES},
  }
