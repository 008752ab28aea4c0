"""`tagsdc demo`: the three phases on the embedded world, from nothing."""

import argparse
import dataclasses
from pathlib import Path

from tagsdc_jax import settings
from tagsdc_jax.commands import configs
from tagsdc_jax.reporting import tables
from tagsdc_jax.running import training

HELP = 'pretraining, stage 1 and stage 2 on the embedded world'
EXAMPLES = """examples:
  tagsdc demo
  tagsdc demo --run-dir runs/other --seed 1
"""
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument('--run-dir', type=Path, default=Path('runs/demo'),
                      help='each phase has its run folder in here '
                      '(default: %(default)s)')
  parser.add_argument('--seed', type=int, default=0)


def run(args: argparse.Namespace, config: None = None) -> None:
  """Runs or continues the phases and prints one table of all."""
  del config
  rows = []
  init_from = ''
  for phase in settings.PHASES:
    run_dir = args.run_dir / phase
    phase_settings = dataclasses.replace(
        configs.load(f'world_{phase}', ()), seed=args.seed,
        init_from=init_from)
    results = training.train(phase_settings, run_dir)
    rows.append((f'{phase}, {results["seconds"]:.0f} s',
                 results['evaluation']))
    init_from = str(run_dir)
  tables.print_recalls(rows, 'embedded world, test split, per cent')
