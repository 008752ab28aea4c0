"""Writes report.html in the folder of a run or a demo."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files, settings, shipped
from tagsdc_jax.reporting.page import content, rendering
from tagsdc_jax.runs import examples, folder

REPORT = 'report.html'
_MEASURES = ('foil_accuracy', 'synthetic_negatives', 'retrieved_negatives')


def write_report(run_dir: Path) -> Path:
  """Writes the page of a run or a demo, whole or not at all.

  The page of an unfinished run shows what is there, and says what is missing.

  Args:
    run_dir: folder of a run, or one with the runs of several phases.
  Returns:
    the path of the page.
  Raises:
    UserError: if the folder is neither, or cannot be read or written.
  """
  path = run_dir / REPORT
  if run_dir.is_dir():
    files.check_target(path)
  page = rendering.render(read_report(run_dir)).encode('utf-8')
  files.write_bytes(path, page)
  return path


def read_report(run_dir: Path) -> content.Report:
  """Returns the contents of the page; runs the network for the examples."""
  results = _read_json(run_dir / folder.RESULTS)
  folders = _phase_folders(run_dir)
  entries = {entry.get('name'): entry for entry in results.get('phases') or ()}
  names = [
    name for name in settings.PHASES if name in folders or name in entries
  ]
  if not names:
    raise errors.UserError(
      f'{run_dir} contains no run ({folder.CONFIG} is missing, in it and in '
      f'{", ".join(settings.PHASES)}); pass the folder of a run or a demo'
    )
  logs = {'pretrain': _shipped_weights(folders)} | folders
  phases = _with_sizes(
    [
      _read_phase(
        name, folders.get(name), entries.get(name) or {}, logs.get(name)
      )
      for name in names
    ],
    results,
  )
  notes = [note for phase in phases for note in _notes(phase)]
  if not folder.holds_run(run_dir):
    later = settings.PHASES[settings.PHASES.index(names[-1]) + 1 :]
    notes += [f'{rendering.LABELS[name]} has not started.' for name in later]
  found, problem = _gather_examples(folders)
  return content.Report(
    run_dir.resolve().name,
    phases,
    found,
    [*notes, *problem],
    results.get('ablation') or (),
  )


def _phase_folders(run_dir: Path) -> dict[str, Path]:
  """Returns phase -> run folder: the folder itself, or its subfolders."""
  if folder.holds_run(run_dir):
    return {folder.read_config(run_dir).get('phase', ''): run_dir}
  return {
    name: run_dir / name
    for name in settings.PHASES
    if folder.holds_run(run_dir / name)
  }


def _shipped_weights(folders: dict[str, Path]) -> Path | None:
  """Returns the folder of the shipped weights that the phases started from."""
  for run_dir in folders.values():
    init_from = folder.read_config(run_dir).get('init_from') or ''
    if init_from.startswith(shipped.PREFIX):
      try:
        return shipped.find(init_from)
      except errors.UserError:  # From another version of the package.
        return None
  return None


def _read_phase(
  name: str, run_dir: Path | None, entry: dict[str, Any], log_dir: Path | None
) -> content.Phase:
  """Returns the page's contents for a phase.

  Args:
    name: the phase's name.
    run_dir: its run folder, if it has one.
    entry: its entry in the results of a demo; empty if there is none.
    log_dir: the folder with its metrics, if any.
  """
  facts: dict[str, Any] = {}
  results: dict[str, Any] = {}
  if run_dir is not None:
    results = _read_json(run_dir / folder.RESULTS)
    facts = {
      'settings': folder.read_config(run_dir),
      'versions': _read_json(run_dir / folder.CONFIG).get('versions') or {},
    }
  lines = read_metrics(log_dir / folder.METRICS) if log_dir else []
  done = max((int(line['update']) for line in lines), default=0)
  if results.get('updates', done) < done:
    results = {}  # From an earlier stop; the run has been continued.
  test = results.get('evaluation')
  if 'image_retrieval' in entry:
    test = {**(test or {}), **entry}
  measures = results.get('measures') or {}
  return content.Phase(
    name,
    test=test,
    validation=results.get('validation'),
    seconds=entry.get('seconds', results.get('seconds')),
    updates=results.get('updates', done),
    parameters_sha256=entry.get(
      'parameters_sha256', results.get('parameters_sha256', '')
    ),
    measures={key: entry.get(key) or measures.get(key) for key in _MEASURES},
    train=[x for x in lines if x['kind'] == 'train'],
    validations=[x for x in lines if x['kind'] == 'validation'],
    **facts,
  )


def read_metrics(path: Path) -> list[dict[str, Any]]:
  """Returns the lines of metrics.jsonl, sorted by update and kind.

  A run that was killed may have left a partial line, and updates that it later
  repeated: the last line counts.
  """
  try:
    text = path.read_text(encoding='utf-8')
  except FileNotFoundError:
    return []
  except (OSError, ValueError) as error:
    raise errors.UserError(f'{path} cannot be read: {error}') from error
  found = {}
  for line in text.splitlines():
    try:
      values = json.loads(line)
      found[int(values['update']), str(values['kind'])] = values
    except (ValueError, KeyError, TypeError):
      continue
  return [found[key] for key in sorted(found)]


def _with_sizes(
  phases: list[content.Phase], results: dict[str, Any]
) -> list[content.Phase]:
  """Returns the phases, each with the sizes of the test split they share."""
  known = [results, *(phase.test or {} for phase in phases)]
  sizes = {
    key: next((x[key] for x in known if x.get(key)), None)
    for key in ('images', 'captions', 'chance')
  }
  return [
    dataclasses.replace(phase, test=phase.test and sizes | phase.test)
    for phase in phases
  ]


def _notes(phase: content.Phase) -> list[str]:
  """Returns notes on what an unfinished phase lacks."""
  label = rendering.LABELS[phase.name]
  if phase.test is None:
    done = (
      f'{phase.updates} of {phase.settings["num_updates"]} updates are '
      'done, and there'
      if phase.settings
      else 'there'
    )
    return [f'{label} is not finished: {done} are no test results yet.']
  if not phase.train:
    return [f'{label} has no curves here: its weights come with the package.']
  return []


def _gather_examples(
  folders: dict[str, Path],
) -> tuple[content.Examples | None, list[str]]:
  """Returns examples of the last phase, or why there are none."""
  if not folders:
    return None, ['There are no examples: the folder contains no checkpoint.']
  last = folders[list(folders)[-1]]
  try:
    return examples.gather(last), []
  except errors.UserError as error:
    return None, [f'There are no examples: {error}.']


def _read_json(path: Path) -> dict[str, Any]:
  """Returns a JSON object, empty if there is no such file."""
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    return {}
  except (OSError, ValueError) as error:
    raise errors.UserError(f'{path} cannot be read: {error}') from error
  if not isinstance(found, dict):
    raise errors.UserError(
      f'{path} must contain a JSON object, got {type(found).__name__}'
    )
  return found
