"""`tagsdc train`: trains one phase, or all of them, or continues."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tagsdc_jax import arguments, environment, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.reporting import tables
from tagsdc_jax.runs import chain, training
from tagsdc_jax.runtime import distributed

HELP = 'train one phase or all of them, or continue the run in the folder'
EXAMPLES = """examples:
  tagsdc train --config world_pretrain --run-dir runs/pretrain
  tagsdc train --config world_tags --run-dir runs/tags \\
      --config.init_from=runs/pretrain --config.num_updates=300
  tagsdc train --phases own_small --run-dir runs/mine --config.data.root=DATA
Run the same command again to continue an interrupted run. Any setting can be
given as --config.NAME=VALUE; `tagsdc settings` shows all of them.
--phases NAME trains with NAME_pretrain, NAME_tags and NAME_dc, in the folders
pretrain, tags and dc of the run folder, each from the best checkpoint of the
one before. --config.NAME=VALUE applies to all of them, init_from to the first.
NAME_pretrain may be missing, where init_from names weights; NAME_align, if
there is one, is a first step of pretraining.
"""
NEEDS_CONFIG = False  # It has its own, or --phases.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  which = parser.add_mutually_exclusive_group(required=True)
  configs.add_option(which)
  which.add_argument(
    '--phases',
    metavar='NAME|FILE',
    help='instead of --config: train pretraining, stage 1 and stage 2, with '
    f'the configs of a name: {", ".join(configs.families())}, or your own '
    'files',
  )
  parser.add_argument(
    '--run-dir',
    type=arguments.folder,
    required=True,
    help='folder of the run; created if missing',
  )


def run(
  args: argparse.Namespace,
  config: settings.Settings | dict[str, settings.Settings],
) -> None:
  """Trains and prints the result.

  Args:
    args: the command's flags.
    config: the settings of --config, or of each phase of --phases.
  """
  distributed.start()
  environment.open_devices()
  phases = config if isinstance(config, dict) else {config.phase: config}
  if distributed.is_first():
    for line in dict.fromkeys(
      line for one in phases.values() for line in settings.without_effect(one)
    ):
      print(f'tagsdc train: {line}', file=sys.stderr, flush=True)
  if isinstance(config, dict):
    found = chain.train_phases(args.run_dir, config)
    places = {phase: args.run_dir / phase for phase in found}
  else:
    found = {config.phase: training.train(config, args.run_dir)}
    places = {config.phase: args.run_dir}
  if distributed.is_first():
    _print(phases, found, places)


def _print(
  phases: dict[str, settings.Settings],
  found: dict[str, dict[str, Any]],
  places: dict[str, Path],
) -> None:
  """Prints the recalls of each phase that was trained, and its last line."""
  for phase, results in found.items():
    ranked = [
      (split, results[key])
      for split, key in (('validation', 'validation'), ('test', 'evaluation'))
      if results.get(key)
    ]
    if ranked:
      tables.print_recalls(
        ranked, f'{phase} after {results["updates"]} updates, percent'
      )
    print(
      f'{places[phase]}: update {results["updates"]} of '
      f'{phases[phase].num_updates}, {results["seconds"]:.0f} s, parameters '
      f'{results["parameters_sha256"][:12]}'
    )
