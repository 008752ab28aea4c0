"""Runs in one folder, each from the weights of another: trains what is missing.

A killed chain continues with the same command: runs that have finished are
read, one that has not continues, the others start.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, settings
from tagsdc_jax.runs import folder, training


def train_phases(
  run_dir: Path, configs: Mapping[str, settings.Settings]
) -> dict[str, dict[str, Any]]:
  """Trains phases one after the other, each from the one before.

  Args:
    run_dir: folder for a run folder per phase, of the phase's name; what
      `tagsdc report` takes as well.
    configs: the settings of each phase, in order. `init_from` counts for the
      first only.
  Returns:
    {phase: contents of its `results.json`}, see `training.train`; the last may
    lack an evaluation if its settings stop it early, and then later phases are
    missing.
  Raises:
    UserError: if a phase cannot be trained, or a folder contains another run.
    Stopped: if a run was asked to stop; its state is saved.
  """
  if folder.holds_run(run_dir):
    raise errors.UserError(
      f'{run_dir} is the folder of a single run, not of several phases; pass '
      'another --run-dir'
    )
  found: dict[str, dict[str, Any]] = {}
  with folder.held(run_dir):
    start = ''
    for phase, config in configs.items():
      found[phase] = train_from(start, config, run_dir / phase)
      if 'evaluation' not in found[phase]:
        break
      start = str(run_dir / phase)
  return found


def train_from(
  start: str, config: settings.Settings, run_dir: Path
) -> dict[str, Any]:
  """Returns the results of a run: those on disk if it has finished.

  Args:
    start: what the run starts from; empty: what its settings say.
    config: its settings.
    run_dir: its folder.
  Raises:
    UserError, Stopped: as `training.train`.
  """
  if start:
    config = dataclasses.replace(config, init_from=start)
  return _finished(config, run_dir) or training.train(config, run_dir)


def _finished(
  config: settings.Settings, run_dir: Path
) -> dict[str, Any] | None:
  """Returns the results of a finished run, None if there is none.

  Raises:
    UserError: if it is one of other settings.
  """
  try:
    text = (run_dir / folder.RESULTS).read_text(encoding='utf-8')
    results = json.loads(text)
    if 'evaluation' not in results or results['updates'] != config.num_updates:
      return None  # Training continues it, or says why it cannot.
  except (OSError, ValueError, KeyError, TypeError):
    return None
  folder.check_same(run_dir, config)
  return results
