"""The demo: runs every phase on the embedded world, with measurements."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files, settings, shipped
from tagsdc_jax.data import opening
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import folder, judging, report, setup, training
from tagsdc_jax.runtime import hashing, parallel
from tagsdc_jax.training import checkpoints

PRETRAINED = f'{shipped.PREFIX}world_pretrain'


def run_demo(
  run_dir: Path,
  configs: Mapping[str, settings.Settings],
  is_from_scratch: bool,
  show: Callable[[dict[str, Any]], None] = lambda results: None,
) -> tuple[dict[str, Any], Path]:
  """Runs or continues the demo; finished phases are not repeated.

  Args:
    run_dir: folder for a run folder per phase, `results.json`, `report.html`.
    configs: the settings of every phase, with the same seed.
    is_from_scratch: whether to pretrain instead of using the shipped weights.
    show: called with the results before the page is written.
  Returns:
    the contents of `results.json` (`seed`, `from_scratch`, `phases` in order,
    `parameters_sha256` of the last one), and the path of the page.
  Raises:
    UserError: if the folder contains something else, or is in use.
  """
  with folder.held(run_dir):
    results = _run_phases(run_dir, configs, is_from_scratch)
    show(results)
    return results, report.write_report(run_dir)


def _run_phases(
  run_dir: Path, configs: Mapping[str, settings.Settings], is_from_scratch: bool
) -> dict[str, Any]:
  seed = configs['tags'].seed
  results = _claim(run_dir, {'seed': seed, 'from_scratch': is_from_scratch})
  done = {entry['name']: entry for entry in results['phases']}
  init_from = ''
  for phase, config in configs.items():
    is_shipped = phase == 'pretrain' and not is_from_scratch
    if phase not in done:
      config = dataclasses.replace(config, init_from=init_from)
      ended = (
        _judge_shipped(config)
        if is_shipped
        else training.train(config, run_dir / phase)
      )
      results['phases'].append(_entry(phase, ended))
      results['parameters_sha256'] = ended['parameters_sha256']
      files.write_json(run_dir / folder.RESULTS, results)
    init_from = PRETRAINED if is_shipped else str(run_dir / phase)
  return results


def _claim(run_dir: Path, choices: dict[str, Any]) -> dict[str, Any]:
  """Returns the results so far; creates the folder if there is none."""
  path = run_dir / folder.RESULTS
  if not path.exists():
    if not folder.is_free(run_dir):
      raise errors.UserError(
        f'{run_dir} is not empty and contains no {folder.RESULTS} of a demo; '
        'pass an empty or new folder as --run-dir'
      )
    fresh = choices | {'phases': [], 'parameters_sha256': ''}
    files.write_json(path, fresh)
    return fresh
  try:
    results = json.loads(path.read_text(encoding='utf-8'))
    found = {name: results[name] for name in (*choices, 'phases')}
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise errors.UserError(
      f'{path} does not belong to a demo ({error}); pass another --run-dir'
    ) from error
  for name, value in choices.items():
    if found[name] != value:
      raise errors.UserError(
        f'{run_dir} contains a demo with {name} = {found[name]}, got {value}; '
        'continue it with the same options, or pass another --run-dir'
      )
  return results


def _judge_shipped(config: settings.Settings) -> dict[str, Any]:
  """Returns results of the shipped weights, like those of a run."""
  start = time.perf_counter()
  devices = parallel.local_devices(config.num_devices)
  data = opening.open_split(config.data, 'train')
  config = setup.with_data_sizes(config, data)
  model = setup.make_model(config)
  loaded = checkpoints.load(shipped.find(PRETRAINED))
  checkpoints.check_parameters(
    loaded.parameters, retrieval.parameter_shapes(model), loaded.path
  )
  judged = judging.judge(
    model,
    parallel.replicate(loaded.parameters, devices),
    config,
    'pretrain',
    data,
    devices,
  )
  return judged | {
    'parameters_sha256': hashing.parameters_sha256(loaded.parameters),
    'seconds': time.perf_counter() - start,
  }


def _entry(phase: str, ended: dict[str, Any]) -> dict[str, Any]:
  """Returns a phase's entry in `results.json`, with percentages 0 to 100."""
  return {
    'name': phase,
    **ended['measures'],
    **{
      key: ended['evaluation'][key]
      for key in (
        'image_retrieval',
        'text_retrieval',
        'images',
        'captions',
        'chance',
        'pairs_per_second',
      )
    },
    'seconds': ended['seconds'],
    'parameters_sha256': ended['parameters_sha256'],
  }
