"""`tagsdc train`: trains one phase, or continues it."""

import argparse
import sys

from tagsdc_jax import arguments, environment, settings
from tagsdc_jax.reporting import tables
from tagsdc_jax.runs import training
from tagsdc_jax.runtime import distributed

HELP = 'train one phase, or continue the run in the folder'
EXAMPLES = """examples:
  tagsdc train --config world_pretrain --run-dir runs/pretrain
  tagsdc train --config world_tags --run-dir runs/tags \\
      --config.init_from=runs/pretrain --config.num_updates=300
  tagsdc train --config uniter_lmdb_small --run-dir runs/mine \\
      --config.data.root=DATA
Run the same command again to continue an interrupted run. Any setting can be
given as --config.NAME=VALUE; `tagsdc settings` shows all of them.
"""
NEEDS_CONFIG = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    '--run-dir',
    type=arguments.folder,
    required=True,
    help='folder of the run; created if missing',
  )


def run(args: argparse.Namespace, config: settings.Settings) -> None:
  """Trains and prints the result."""
  distributed.start()
  environment.open_devices()
  if distributed.is_first():
    for line in settings.without_effect(config):
      print(f'tagsdc train: {line}', file=sys.stderr, flush=True)
  results = training.train(config, args.run_dir)
  if not distributed.is_first():
    return
  if 'evaluation' in results:
    tables.print_recalls(
      [('validation', results['validation']), ('test', results['evaluation'])],
      f'{config.phase} after {results["updates"]} updates, percent',
    )
  print(
    f'{args.run_dir}: update {results["updates"]} of '
    f'{config.num_updates}, {results["seconds"]:.0f} s, parameters '
    f'{results["parameters_sha256"][:12]}'
  )
