"""`tagsdc demo`: runs the method on the embedded world, with a report."""

import argparse
import dataclasses
from pathlib import Path

from tagsdc_jax import arguments, environment, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.reporting import tables
from tagsdc_jax.runs import demo

HELP = 'train with and without tailored negatives on the embedded world'
EXAMPLES = """examples:
  tagsdc demo
  tagsdc demo --run-dir runs/other --seed 1
  tagsdc demo --from-scratch
Run the same command again to continue an interrupted demo. Open report.html in
the run folder with a browser.
"""
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    '--run-dir',
    type=arguments.folder,
    default=Path('runs/demo'),
    help='folder with a run folder for each phase (default: %(default)s)',
  )
  parser.add_argument(
    '--seed',
    type=arguments.setting('seed'),
    default=0,
    help=f'{settings.ALL["seed"].kind} (default: %(default)s)',
  )
  parser.add_argument(
    '--from-scratch',
    action='store_true',
    help='pretrain first instead of using the shipped weights; takes a '
    'quarter of an hour more',
  )


def run(args: argparse.Namespace, config: None = None) -> None:
  """Runs or continues the phases and prints a table of all of them."""
  del config
  environment.open_devices()
  _, page = demo.run_demo(
    args.run_dir, _configs(args.seed), args.from_scratch, tables.print_demo
  )
  print(f'report: {page}')


def _configs(seed: int) -> dict[str, settings.Settings]:
  """Returns the settings of all runs of the demo; see `demo.STARTS`."""
  found = {
    name: configs.load(f'world_{name}', ())
    for name in ('relations', 'pretrain', 'tags', 'dc', 'hard_only')
  }
  hard_only = found.pop('hard_only')
  found |= {
    'hard_only_stage1': hard_only,
    # As long, and at the same rate, as the stage 2 that it is compared with.
    'hard_only_stage2': dataclasses.replace(
      hard_only,
      num_updates=found['dc'].num_updates,
      checkpoint_every=found['dc'].checkpoint_every,
      optimizer=found['dc'].optimizer,
    ),
  }
  return {
    name: dataclasses.replace(config, seed=seed)
    for name, config in found.items()
  }
