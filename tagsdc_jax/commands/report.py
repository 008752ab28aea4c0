"""`tagsdc report`: one page of what a run has learned."""

import argparse

from tagsdc_jax import arguments, environment
from tagsdc_jax.runs import report

HELP = 'write a page with curves, results and examples of a run'
EXAMPLES = """examples:
  tagsdc report runs/tags
  tagsdc report runs/demo
The page is RUN_DIR/report.html, one file without links to others. RUN_DIR may
hold several phases, as a demo's does; an unfinished run gets what there is.
"""
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'run_dir',
    type=arguments.path,
    metavar='RUN_DIR',
    help='folder of a run or of a demo',
  )


def run(args: argparse.Namespace, config: None = None) -> None:
  """Writes the page and says where it is."""
  del config
  environment.open_devices()
  print(report.write_report(args.run_dir))
