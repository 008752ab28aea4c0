"""`tagsdc report`: writes one page about a run."""

import argparse

from tagsdc_jax import arguments, environment
from tagsdc_jax.runs import report

HELP = 'write a page with the curves, results and examples of a run'
EXAMPLES = """examples:
  tagsdc report runs/tags
  tagsdc report runs/demo
The page is RUN_DIR/report.html, a single self-contained file. RUN_DIR may
contain several phases, as that of a demo does. The page of an unfinished run
shows what is there so far.
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
  """Writes the page and prints its path."""
  del config
  environment.open_devices()
  print(report.write_report(args.run_dir))
