"""`tagsdc demo`: runs the method on the embedded world, with a report."""

import argparse
import dataclasses
from pathlib import Path

from tagsdc_jax import arguments, environment, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.reporting import tables
from tagsdc_jax.runs import demo

HELP = 'run stages 1 and 2 on the embedded world, from shipped weights'
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
    help='pretrain first instead of using the shipped weights; takes ten more '
    'minutes',
  )


def run(args: argparse.Namespace, config: None = None) -> None:
  """Runs or continues the phases and prints a table of all of them."""
  del config
  environment.open_devices()
  phases = {
    phase: dataclasses.replace(
      configs.load(f'world_{phase}', ()), seed=args.seed
    )
    for phase in settings.PHASES
  }
  _, page = demo.run_demo(
    args.run_dir,
    phases,
    args.from_scratch,
    lambda results: tables.print_phases(results['phases']),
  )
  print(f'report: {page}')
