"""`tagsdc compare`: compares with recordings of the PyTorch release."""

import argparse
import collections
import contextlib
import dataclasses
import math
import os
import sys
import time
from typing import Any

from tagsdc_jax import arguments, environment, files
from tagsdc_jax.comparison import comparing, items, recordings
from tagsdc_jax.reporting import tables
from tagsdc_jax.runs import folder
from tagsdc_jax.runtime import progress

HELP = 'compare with recorded outputs of the PyTorch release'
EXAMPLES = """examples:
  tagsdc compare recordings
  tagsdc compare recordings --x64 --json differences.json
A folder of recordings contains a MANIFEST.json, which describes every array.
Each recorded output is computed again from the recorded inputs and random
choices, with the code that trains and evaluates.

verdicts:
  holds    computed again, within the tolerance
  FAILS    outside the tolerance, or the shape differs
  missing  listed in MANIFEST.json, or required, but not there
  unknown  not known to this program, and not checked
  skipped  known, but not compared; the note says why
exit code: 0 if something was compared and nothing fails or is missing, else 1;
2 if the folder cannot be read. Unknown and skipped arrays do not affect it; the
last line counts them.
"""
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'folder', type=arguments.path, help='folder of recordings'
  )
  parser.add_argument(
    '--json', type=arguments.path, help='write all items to this file'
  )
  parser.add_argument(
    '--x64',
    action='store_true',
    help='also compute in float64, and compare with the float64 recordings',
  )


def run(args: argparse.Namespace, config: None = None) -> int:
  """Compares, prints the table, and returns the exit code."""
  del config
  if args.json is not None:
    files.check_target(args.json)
  start = time.perf_counter()
  # Before any device is used: most of the time is spent compiling many small
  # programs that run only a few times each.
  os.environ['XLA_FLAGS'] = (
    f'{os.environ.get("XLA_FLAGS", "")} --xla_backend_optimization_level=0'
  ).strip()
  environment.open_devices()
  opened = recordings.open_folder(args.folder, x64=args.x64)
  total = len(opened.manifest['files'])
  with progress.progress_bar(total, 'comparing', 'files') as bar:
    found = comparing.compare(opened, bar.update)
  holds = comparing.all_hold(found)
  counts = collections.Counter(item.verdict for item in found)
  words = ', '.join(
    f'{counts[kind]} {kind}' for kind in items.VERDICTS if counts[kind]
  )
  verdict = 'everything compared holds' if holds else 'NOT as recorded'
  with contextlib.redirect_stdout(
    sys.stderr if files.is_stdout(args.json) else sys.stdout
  ):
    tables.print_differences([_cells(item) for item in found], str(args.folder))
    print(
      f'{verdict}: {words or "nothing to compare"}; '
      f'{time.perf_counter() - start:.0f} s'
    )
  if args.json is not None:
    files.write_json(
      args.json,
      {
        'folder': str(args.folder),
        'holds': holds,
        'x64': args.x64,
        'counts': dict(counts),
        'versions': folder.versions(),
        'items': [_entry(item) for item in found],
      },
    )
  return 0 if holds else 1


def _entry(item: items.Item) -> dict[str, Any]:
  """Returns the item for JSON, which has no infinity."""
  entry = dataclasses.asdict(item) | {'holds': item.holds}
  return {
    key: str(value) if value in (math.inf, -math.inf) else value
    for key, value in entry.items()
  }


def _cells(item: items.Item) -> tuple[str, ...]:
  """Returns the item as a row of the table."""
  errs = (
    '' if error is None else f'{error:.1e}'
    for error in (item.max_abs, item.max_rel)
  )
  name = f'{item.name} ({item.variant})' if item.variant else item.name
  return (item.file, name, *errs, item.tolerance, item.verdict, item.note)
