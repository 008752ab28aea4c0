"""Makes a folder of `tagsdc_jax.shipped` from two finished runs.

Run by launch/pretrain_world.sh.
"""

import json
import platform
import shutil
import sys
from pathlib import Path

from tagsdc_jax import errors, files, paths, settings, shipped
from tagsdc_jax.runs import folder
from tagsdc_jax.runtime import hashing
from tagsdc_jax.training import checkpoints


def ship(
  first_dir: Path, run_dir: Path, target: Path, commands: list[str]
) -> dict:
  """Writes the weights, the logs and the recipe of two runs.

  Args:
    first_dir: a finished run from scratch.
    run_dir: a finished run that started from it; its newest checkpoint is used.
    target: folder of the weights; replaced.
    commands: the commands that made the runs, for the recipe.
  Returns:
    the recipe.
  Raises:
    UserError: if a run has not finished, or did not start like this.
  """
  first, results = (_results(path) for path in (first_dir, run_dir))
  update = results['updates']
  loaded = checkpoints.load(run_dir / 'checkpoints' / 'newest' / str(update))
  config = settings.from_flat(loaded.about['settings'])
  before = folder.read_config(first_dir).get('init_from')
  if before or not config.init_from or config.data.root:
    raise errors.UserError(
      f'{first_dir} must be a run from scratch, and {run_dir} one that started '
      'from it, both on the world in its own folder (data.root empty)'
    )
  about = {
    key: loaded.about[key]
    for key in ('phase', 'update', 'settings', 'versions')
  }
  # The recipe says where they started.
  about['settings'] = about['settings'] | {'init_from': ''}
  checkpoints.export(target, loaded.parameters, about)
  shutil.copy(first_dir / folder.METRICS, target / shipped.FIRST_METRICS)
  shutil.copy(run_dir / folder.METRICS, target / folder.METRICS)
  recipe = {
    'commands': commands,
    'updates': update,
    'updates_before': first['updates'],
    'seconds': first['seconds'] + results['seconds'],
    'machine': f'{platform.machine()}, {platform.system()}',
    'parameters_sha256': hashing.parameters_sha256(loaded.parameters),
    'evaluation': results['evaluation'],
    'measures': results['measures'],
  }
  files.write_json(target / shipped.RECIPE, recipe)
  return recipe


def _results(run_dir: Path) -> dict:
  """Returns the results of a finished run."""
  path = run_dir / folder.RESULTS
  try:
    results = json.loads(path.read_text(encoding='utf-8'))
  except OSError as error:
    raise errors.UserError(f'{path} cannot be read: {error}') from error
  if 'evaluation' not in results:
    raise errors.UserError(f'{run_dir} must be a finished run')
  return results


if __name__ == '__main__':
  first, last, made_in = (paths.local(name) for name in sys.argv[1:4])
  made = ship(first, last, made_in, sys.argv[4:])
  print(json.dumps(made, indent=1))
