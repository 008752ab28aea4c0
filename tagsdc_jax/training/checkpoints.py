"""Orbax checkpoints of a run: the newest, the best, and those kept for good.

A checkpoint contains `parameters` (nested names -> float32), `optimizer` (path
-> array) and `about` (JSON: phase, update, metrics, versions, hashes of
everything else), so it can be read without this project. With several
processes, only the first one writes: every process has all parameters, so none
has to wait for another during a save. Each process reads on its own.
"""

import dataclasses
import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from tagsdc_jax import arrays, errors, settings
from tagsdc_jax.runtime import hashing, progress, watchdog
from tagsdc_jax.training import restoring, state

KINDS = ('newest', 'best', 'kept')
# How many of the newest to keep: a full disk can damage the last one.
_NUM_NEWEST = 2
# Model settings that may differ between phases.
_MAY_DIFFER = (
  'model.dropout_rate',
  'model.initializer_range',
  'model.train_padding_row',
)
# The key of `about` that lists the parts of the network that a checkpoint lacks
# because a run that starts from it initializes them.
FRESH = 'fresh'
# Sizes that the data determines; 0 in settings that leave them to it.
FROM_DATA = ('model.vocab_size', 'model.feature_size')
# How TensorStore, which Orbax uses for writing, reports system errors.
_SYSTEM_ERROR = re.compile(r"([^:]*) \[os_error_code='\d+'\]")


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A checkpoint in host memory."""

  path: Path
  parameters: Any
  about: dict[str, Any]


class Checkpoints:
  """Writes and reads the checkpoints of one run folder."""

  def __init__(
    self,
    run_dir: Path,
    watch: watchdog.Watch = watchdog.UNWATCHED,
    check: Callable[[], None] = lambda: None,
  ) -> None:
    """Creates the folders.

    Args:
      run_dir: the run's folder.
      watch: ends a process that hangs while others wait for it.
      check: raises if another run has taken over the folder.
    """
    self._root, self._watch, self._check = run_dir / 'checkpoints', watch, check
    self._num_bytes = 0  # Of the last save.
    limits = {'newest': _NUM_NEWEST, 'best': 1, 'kept': None}
    self._managers: dict[str, ocp.CheckpointManager] = {}
    if jax.process_index() != 0:
      return
    with _written(self._root):
      for kind in KINDS:
        place = (self._root / kind).absolute()
        place.mkdir(parents=True, exist_ok=True)
        # Otherwise missing permissions would only show up in the background,
        # at the first save.
        restoring.by_update(place)
        if not os.access(place, os.W_OK | os.X_OK):
          raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self._managers[kind] = ocp.CheckpointManager(
          place,
          options=ocp.CheckpointManagerOptions(
            max_to_keep=limits[kind],
            create=False,
            # Half-written checkpoints of a killed run.
            cleanup_tmp_directories=True,
            multiprocessing_options=restoring.alone(),
          ),
        )

  def save(
    self, kind: str, train_state: state.TrainState, about: dict[str, Any]
  ) -> None:
    """Saves a state from host memory, in the background.

    Does nothing if that update is already saved. Processes other than the
    first only check that the state is finite.

    Args:
      kind: one of KINDS.
      train_state: numpy arrays that must not be modified afterwards.
      about: JSON-serializable facts, including `phase` and `update`.
    Raises:
      UserError: if the file system rejects this save or the previous one; if
        another run has taken over the folder; or if the state is not finite,
        so that training could not continue from it.
    """
    update = int(train_state.update)
    problem = arrays.not_finite(
      _named(
        {'parameters': train_state.params, 'optimizer': train_state.optimizer}
      )
    )
    if problem:
      raise errors.UserError(
        f'the state after update {update} is not finite, so it is not saved: '
        f'{problem}; lower optimizer.learning_rate; the last checkpoint '
        'predates this, and the same command resumes from it'
      )
    manager = self._managers.get(kind)
    if manager is None or update in manager.all_steps():
      return
    self._check()
    parts = {
      'parameters': train_state.params,
      'optimizer': _by_path(train_state.optimizer),
    }
    if train_state.start_params is not None:
      parts['start_params'] = train_state.start_params
    self._num_bytes = sum(x.nbytes for x in jax.tree.leaves(parts))
    with self._writing(kind):
      manager.save(
        update,
        force=True,
        args=ocp.args.Composite(
          **{name: ocp.args.StandardSave(tree) for name, tree in parts.items()},
          about=ocp.args.JsonSave(
            hashing.with_hashes(about | {'update': update}, parts)
          ),
        ),
      )

  def newest(
    self, template: state.TrainState
  ) -> tuple[state.TrainState, dict[str, Any]] | None:
    """Returns the newest saved state and its `about`; None if there is none.

    Damaged checkpoints are reported and skipped; see `put_aside`. A checkpoint
    that cannot be read for another reason is not skipped: it ends the run.

    Args:
      template: a state of the same structure; its arrays are not read.
    Raises:
      UserError: if all are damaged, or if one cannot be read.
    """
    with self._watch.during(watchdog.READING):
      found = restoring.first_whole(
        restoring.by_update(self._root / 'newest'),
        (
          'parameters',
          'optimizer',
          *(() if template.start_params is None else ('start_params',)),
          'about',
        ),
      )
    if found is None:
      return None
    path, (parameters, optimizer, *start_params, about) = found
    for tree in (parameters, *start_params):
      check_parameters(tree, template.params, path)
      _check_numbers(tree, path)
    return state.TrainState(
      np.int32(about['update']),
      parameters,
      _from_paths(template.optimizer, optimizer),
      *start_params,
    ), about

  def put_aside(self, update: int) -> None:
    """Moves the newest checkpoints after `update`, all damaged, to `damaged`.

    The run will save these updates again.
    """
    manager = self._managers.get('newest')
    if manager is None:
      return
    aside = self._root / 'damaged'
    with errors.named(aside):
      for path in restoring.by_update(self._root / 'newest'):
        if int(path.name) > update:
          aside.mkdir(exist_ok=True)
          path.rename(aside / f'{path.name}_{time.time_ns()}')
    manager.reload()

  def wait(self) -> None:
    """Waits until all saves are on disk.

    Raises:
      UserError: if the file system rejected one.
    """
    with progress.waiting('writing checkpoints'):
      for kind, manager in self._managers.items():
        with self._writing(kind):
          manager.wait_until_finished()

  def close(self) -> None:
    """Waits for all saves and releases the folder; raises like `wait`."""
    with progress.waiting('writing checkpoints'):
      for kind, manager in self._managers.items():
        with self._writing(kind):
          manager.close()

  @contextmanager
  def _writing(self, kind: str) -> Iterator[None]:
    # The wait is for writes in the background: in the worst case all bytes.
    with (
      self._watch.during(watchdog.SAVING, self._num_bytes),
      _written(self._root / kind),
    ):
      yield


def export(path: Path, parameters: Any, about: dict[str, Any]) -> None:
  """Writes a checkpoint without optimizer state: for `load`, not to resume.

  Args:
    path: the checkpoint's folder; replaced if it exists.
    parameters: numpy arrays.
    about: JSON-serializable facts, including `phase`, `update` and `settings`.
  """
  parts = {'parameters': parameters}
  with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
    checkpointer.save(
      path.absolute(),
      force=True,
      args=ocp.args.Composite(
        parameters=ocp.args.StandardSave(parameters),
        about=ocp.args.JsonSave(hashing.with_hashes(about, parts)),
      ),
    )
  # Only object stores need these files, and they contain local paths.
  for marker in path.rglob('commit_success.txt'):
    marker.unlink()


def load(path: Path) -> Loaded:
  """Returns the parameters and facts of a run folder or of one checkpoint.

  From a run folder it loads the best checkpoint if there is one, else the
  newest. A damaged checkpoint is reported and the previous one is used.

  Raises:
    UserError: if there is no checkpoint, all are damaged, one cannot be read,
      or its parameters are not finite float32.
  """
  candidates = (
    [path]
    if (path / 'about').is_dir()
    else [
      update
      for kind in ('best', 'newest')
      for update in restoring.by_update(path / 'checkpoints' / kind)
    ]
  )
  found = restoring.first_whole(candidates, ('parameters', 'about'))
  if found is None:
    raise errors.UserError(
      f'{path} must be a run folder with checkpoints, or a checkpoint '
      'itself; found neither'
    )
  place, (parameters, about) = found
  if 'phase' not in about:
    raise errors.UserError(
      f'checkpoint {place} does not state its '
      'phase; pass one written by `tagsdc train`'
    )
  _check_numbers(parameters, place)
  return Loaded(place, parameters, about)


def settings_of(loaded: Loaded) -> settings.Settings:
  """Returns the settings that a checkpoint was trained with.

  Raises:
    UserError: if they are missing or do not fit this version.
  """
  try:
    return settings.from_flat(loaded.about['settings'])
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise errors.UserError(
      f'the settings in checkpoint {loaded.path} cannot be used: {error}; '
      'pass one written by this version of `tagsdc train`'
    ) from error


def check_model(loaded: Loaded, config: settings.Settings) -> None:
  """Raises UserError unless the checkpoint's network matches the config."""
  saved = loaded.about.get('settings', {})
  differing = [
    f'{key} is {saved[key]}, but {value} in the config'
    for key, value in settings.flatten(config).items()
    if key.startswith('model.')
    and key not in _MAY_DIFFER
    and key in saved
    and saved[key] != value
    and not (key in FROM_DATA and saved[key] == 0)
  ]
  if differing:
    raise errors.UserError(
      f'checkpoint {loaded.path} is from a different model: '
      f"{'; '.join(differing)}. Set the config to the checkpoint's sizes, "
      'or start from another checkpoint'
    )


def check_parameters(actual: Any, expected: Any, path: Path) -> None:
  """Raises UserError unless names and shapes match the model's."""
  have, want = (
    {name: np.shape(x) for name, x in _named(tree).items()}
    for tree in (actual, expected)
  )
  if have == want:
    return
  lacking = sorted(expected.keys() - actual.keys())
  if lacking and have.items() <= want.items():
    raise errors.UserError(
      f'checkpoint {path} has no {", ".join(lacking)}: it is for starting a '
      'training run; pass it as --config.init_from to `tagsdc train`'
    )
  differing = [
    f'{name} is {have.get(name, "missing")}, expected '
    f'{want.get(name, "no such parameter")}'
    for name in sorted(have.keys() | want.keys())
    if have.get(name) != want.get(name)
  ]
  raise errors.UserError(
    f'checkpoint {path} is from a different model: {differing[0]}'
    + (f' (and {len(differing) - 1} more)' if len(differing) > 1 else '')
    + "; set the config's model to the checkpoint's sizes"
  )


def _check_numbers(parameters: Any, path: Path) -> None:
  """Raises UserError unless all parameters are float32 and finite."""
  named = _named(parameters)
  other = [
    f'{name} is {x.dtype}' for name, x in named.items() if x.dtype != np.float32
  ]
  if other:
    raise errors.UserError(
      f'checkpoint {path} must contain float32 numbers only: {other[0]}'
      + (
        f' (and {len(other) - 1} more of {len(named)} arrays)'
        if len(other) > 1
        else ''
      )
      + '; pass one written by `tagsdc train` or `tagsdc convert`'
    )
  problem = arrays.not_finite(named)
  if problem:
    raise errors.UserError(
      f'checkpoint {path} must contain finite numbers only: {problem}; pass '
      'an earlier checkpoint or other weights'
    )


@contextmanager
def _written(path: Path) -> Iterator[None]:
  """Raises UserError where the file system rejects a checkpoint."""
  try:
    with errors.named(path):
      yield
  except ValueError as error:
    reason = _SYSTEM_ERROR.search(str(error))
    if reason is None:
      raise
    raise errors.UserError(
      f'{path} cannot be written: {reason[1].strip()}; pass another --run-dir'
    ) from error


def _named(tree: Any) -> dict[str, Any]:
  """Returns the leaves by their human-readable names."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _by_path(tree: Any) -> dict[str, np.ndarray]:
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _from_paths(template: Any, leaves: dict[str, np.ndarray]) -> Any:
  return jax.tree_util.tree_map_with_path(
    lambda path, _: leaves[jax.tree_util.keystr(path)], template
  )
