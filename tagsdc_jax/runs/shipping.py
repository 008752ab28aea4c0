"""Makes a folder of `tagsdc_jax.shipped` from a finished run.

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


def ship(run_dir: Path, target: Path, commands: list[str]) -> dict:
  """Writes the weights, the log and the recipe of a run.

  Args:
    run_dir: a finished run; its newest checkpoint is used.
    target: folder of the weights; replaced.
    commands: the commands that made the run, for the recipe.
  Returns:
    the recipe.
  Raises:
    UserError: if the run has not finished, or started from other weights.
  """
  results = json.loads((run_dir / folder.RESULTS).read_text(encoding='utf-8'))
  update = results['updates']
  loaded = checkpoints.load(run_dir / 'checkpoints' / 'newest' / str(update))
  config = settings.from_flat(loaded.about['settings'])
  if 'evaluation' not in results or config.init_from or config.data.root:
    raise errors.UserError(
      f'{run_dir} must be a finished run from scratch on the world in its '
      'own folder (init_from and data.root empty)'
    )
  about = {
    key: loaded.about[key]
    for key in ('phase', 'update', 'settings', 'versions')
  }
  checkpoints.export(target, loaded.parameters, about)
  shutil.copy(run_dir / folder.METRICS, target / folder.METRICS)
  recipe = {
    'commands': commands,
    'updates': update,
    'seconds': results['seconds'],
    'machine': f'{platform.machine()}, {platform.system()}',
    'parameters_sha256': hashing.parameters_sha256(loaded.parameters),
    'evaluation': results['evaluation'],
    'measures': results['measures'],
  }
  files.write_json(target / shipped.RECIPE, recipe)
  return recipe


if __name__ == '__main__':
  made = ship(paths.local(sys.argv[1]), paths.local(sys.argv[2]), sys.argv[3:])
  print(json.dumps(made, indent=1))
