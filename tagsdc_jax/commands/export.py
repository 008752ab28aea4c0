"""`tagsdc export`: generated negatives in the formats of other trainings."""

import argparse
import contextlib
import sys

from tagsdc_jax import arguments, files, settings
from tagsdc_jax.negative_files import records
from tagsdc_jax.negative_files.exports import source, writing
from tagsdc_jax.settings import kinds

HELP = 'write generated negatives as other trainings and benchmarks read them'
EXAMPLES = (
  """examples:
  tagsdc export negatives/negatives.jsonl train.tsv --format negclip \\
      --images photos
  tagsdc export negatives/negatives.jsonl triplets.jsonl \\
      --format sentence-transformers --images photos --per-caption 3
formats:
"""
  + arguments.described(
    {
      name: f'{form.consumer}: {form.content}'
      for name, form in writing.FORMATS.items()
    }
  )
  + """
What is left out, what a format has no place for, and how to read the result is
printed at the end.
"""
)
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'negatives',
    metavar='NEGATIVES',
    type=arguments.path,
    help='file of negatives that tagsdc generate wrote',
  )
  parser.add_argument(
    'out',
    metavar='OUT',
    type=arguments.path,
    help='file to write; for '
    + ', '.join(name for name, one in writing.FORMATS.items() if one.is_folder)
    + ' a new folder',
  )
  parser.add_argument(
    '--format',
    choices=tuple(writing.FORMATS),
    metavar='FORMAT',
    required=True,
    help='what to write, see below',
  )
  parser.add_argument(
    '--images',
    type=arguments.folder,
    metavar='FOLDER',
    help='folder of the pictures (default: that of the data that the negatives '
    'were generated from)',
  )
  parser.add_argument(
    '--per-caption',
    type=arguments.of_kind(kinds.Whole(1, 1000)),
    metavar='NUMBER',
    help='most negatives per caption, the best first; sentence-transformers '
    'takes exactly so many (default: all; '
    + ', '.join(
      f'{form.number} for {name}'
      for name, form in writing.FORMATS.items()
      if form.number
    )
    + ')',
  )


def run(args: argparse.Namespace, config: settings.Settings | None) -> None:
  """Writes the file, and prints what was left out and how to read it."""
  del config
  options = source.Options(str(args.images or ''), args.per_caption)
  report = writing.write(
    records.File(args.negatives), args.out, args.format, options
  )
  with contextlib.redirect_stdout(
    sys.stderr if files.is_stdout(args.out) else sys.stdout
  ):
    print('\n'.join(report.lines))
