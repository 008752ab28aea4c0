"""The demo: the phases on the embedded world, and what the negatives add.

Beside stages 1 and 2 it trains the same weights for as many updates with hard
retrieved negatives only. Only that comparison shows what tailored negatives
add: more training alone helps too.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files, settings, shipped
from tagsdc_jax.data import opening
from tagsdc_jax.evaluation import recall
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import chain, folder, judging, report, setup
from tagsdc_jax.runtime import hashing, parallel
from tagsdc_jax.training import checkpoints

PRETRAINED = f'{shipped.PREFIX}world_pretrain'
# Every training run, in order, and the one whose weights it starts from.
STARTS = {
  'relations': '',
  'pretrain': 'relations',
  'tags': 'pretrain',
  'dc': 'tags',
  'hard_only_stage1': 'pretrain',
  'hard_only_stage2': 'hard_only_stage1',
}
# Rows of the comparison: stage, name, run.
ABLATION = (
  (0, 'pretrain', 'pretrain'),
  (1, 'hard_only', 'hard_only_stage1'),
  (1, 'tags', 'tags'),
  (2, 'hard_only', 'hard_only_stage2'),
  (2, 'dc', 'dc'),
)
_LISTS = ('phases', 'controls', 'ablation')


def run_demo(
  run_dir: Path,
  configs: Mapping[str, settings.Settings],
  is_from_scratch: bool,
  show: Callable[[dict[str, Any]], None] = lambda results: None,
) -> tuple[dict[str, Any], Path]:
  """Runs or continues the demo; finished phases are not repeated.

  Args:
    run_dir: folder for a run folder per name in STARTS, `results.json`,
      `report.html`.
    configs: the settings of every run in STARTS, with the same seed.
    is_from_scratch: whether to pretrain instead of using the shipped weights.
    show: called with the results before the page is written.
  Returns:
    the contents of `results.json`, and the path of the page. `seed` and
    `from_scratch` are the choices; `phases` and `controls` the results of the
    runs, in order; `ablation` has the comparison's rows (`stage`, `name`,
    `seed`, `updates` since pretraining, `foil_accuracy` by kind on the test
    split, `mean_r1`, `image_r1`, `text_r1`); `parameters_sha256` is that of
    stage 2.
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
  done = {
    entry['name']: entry for entry in results['phases'] + results['controls']
  }
  for name, start in STARTS.items():
    if name in done or (name == 'relations' and not is_from_scratch):
      continue
    if name == 'pretrain' and not is_from_scratch:
      ended = _judge_shipped(configs[name])
    else:
      is_shipped = start == 'pretrain' and not is_from_scratch
      place = PRETRAINED if is_shipped else str(run_dir / start)
      ended = chain.train_from(start and place, configs[name], run_dir / name)
    done[name] = _entry(name, ended)
    is_phase = name in settings.PHASES
    results['phases' if is_phase else 'controls'].append(done[name])
    results['ablation'] = _ablation(done, seed)
    if is_phase:
      results['parameters_sha256'] = ended['parameters_sha256']
    files.write_json(run_dir / folder.RESULTS, results)
  return results


def _ablation(
  done: Mapping[str, dict[str, Any]], seed: int
) -> list[dict[str, Any]]:
  """Returns the rows of the comparison whose runs are done."""
  rows = []
  for stage, name, run in ABLATION:
    if run not in done:
      continue
    entry = done[run]
    before = STARTS[run] if stage == 2 else ''
    rows.append(
      {
        'stage': stage,
        'name': name,
        'seed': seed,
        'updates': entry['updates'] * bool(stage)
        + (done[before]['updates'] if before else 0),
        'foil_accuracy': entry['foil_accuracy']['test'],
        'mean_r1': recall.mean_r1(entry),
        'image_r1': entry['image_retrieval']['r1'],
        'text_r1': entry['text_retrieval']['r1'],
      }
    )
  return rows


def _claim(run_dir: Path, choices: dict[str, Any]) -> dict[str, Any]:
  """Returns the results so far; creates the folder if there is none."""
  path = run_dir / folder.RESULTS
  if not path.exists():
    if not folder.is_free(run_dir):
      raise errors.UserError(
        f'{run_dir} is not empty and contains no {folder.RESULTS} of a demo; '
        'pass an empty or new folder as --run-dir'
      )
    fresh = choices | {name: [] for name in _LISTS} | {'parameters_sha256': ''}
    files.write_json(path, fresh)
    return fresh
  try:
    results = json.loads(path.read_text(encoding='utf-8'))
    found = {name: results[name] for name in (*choices, *_LISTS)}
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
    'updates': loaded.about['update'],
  }


def _entry(name: str, ended: dict[str, Any]) -> dict[str, Any]:
  """Returns a run's entry in `results.json`, with percentages 0 to 100."""
  return {
    'name': name,
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
    'updates': ended['updates'],
    'seconds': ended['seconds'],
    'parameters_sha256': ended['parameters_sha256'],
  }
