"""`tagsdc check`: do captions match their images, and which words are wrong."""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

from tagsdc_jax import arguments, environment, errors, files, paths, shipped
from tagsdc_jax.commands import trained
from tagsdc_jax.data import opening
from tagsdc_jax.preparing.captions import tables
from tagsdc_jax.reporting import checked
from tagsdc_jax.runs import checking, folder
from tagsdc_jax.runtime import memory, parallel, progress
from tagsdc_jax.training import checkpoints

HELP = 'score captions of an image, mark their wrong words, and correct them'
EXAMPLES = """examples:
  tagsdc check runs/dc --image test-00003 --caption "a red circle"
  tagsdc check runs/dc --image 3 --caption "a red star" --caption "a blue star"
  tagsdc check runs/mine/dc --image photo.jpg --caption "a dog on a sofa"
  tagsdc check runs/dc --file pairs.csv --json checked.jsonl
  tagsdc check shipped:world_pretrain --image 0 --caption "a small red star"
A terminal shows a table; a pipe and --json get a JSON object per line. Words
and corrections need a run of phase dc; others have scores only. Of a file, what
cannot be checked, such as a caption with a word that is not in the vocabulary,
gets an "error", and the rest is checked.
"""
NEEDS_CONFIG = False
# Settings that may differ from those of training.
CHANGED = trained.SCORING


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'model',
    metavar='RUN',
    type=arguments.location,
    help='run folder, checkpoint, or weights that come with the package, '
    'shipped:NAME',
  )
  parser.add_argument(
    '--image',
    action='append',
    default=[],
    metavar='ID|NUMBER|PHOTO',
    help="an image's id in the split, its number there, or a photo, if the "
    'data was prepared from photos',
  )
  parser.add_argument(
    '--caption',
    action='append',
    default=[],
    metavar='TEXT',
    help='a sentence about the image; may be given several times',
  )
  parser.add_argument(
    '--file',
    type=arguments.path,
    metavar='FILE',
    help='CSV or JSON lines with image and caption of many pairs, instead of '
    '--image and --caption',
  )
  parser.add_argument(
    '--json',
    type=arguments.path,
    metavar='FILE',
    help='write a JSON object per line to this file',
  )
  for name in ('encoder', 'detector'):
    parser.add_argument(
      f'--{name}',
      type=arguments.location,
      metavar='FOLDER|NAME',
      help=f'where the {name} of photos is, if it was moved',
    )
  trained.add_options(parser, CHANGED)


def run(args: argparse.Namespace, config: None = None) -> None:
  """Checks, and prints or writes the results."""
  del config
  pairs = _pairs(args)
  environment.open_devices()
  loaded = checkpoints.load(shipped.find(args.model))
  config_used = trained.settings_of(args, loaded, CHANGED)
  data = opening.open_split(
    config_used.data, args.split, config_used.extensions
  )
  phase = loaded.about['phase']
  with memory.explained(config_used, memory.SCORING, parallel.local_devices(1)):
    checker = checking.Checker(
      loaded,
      config_used,
      data,
      encoder=args.encoder or '',
      detector=args.detector or '',
    )
    if not checker.has_words:
      _say(
        f'{args.model} was trained in phase {phase}, which has no word heads: '
        'scores only; words and corrections need a run of phase dc'
      )
    batches = checker.lines(pairs)
    title = f'{data.name}, {phase}, update {loaded.about["update"]}'
    if args.file is None:
      _output(args, iter([_without_errors(batches)]), title)
    else:
      _output_all(args, batches, len(pairs), title)


def _pairs(args: argparse.Namespace) -> list[tuple[str, str]]:
  """Returns image and caption of each pair.

  Raises:
    UserError: also for anything that would fail after the work.
  """
  if args.json is not None:
    files.check_target(args.json)
    folder.check_not_of_a_run(args.json)
  if args.file is None:
    if not args.image or not args.caption:
      raise errors.UserError(
        'pass --image and --caption, or --file with a table of both'
      )
    if len(args.image) > 1:
      raise errors.UserError(
        f'--image must be given once, got {len(args.image)} of them; pass '
        '--file with a table of images and captions'
      )
    return [(args.image[0], caption) for caption in args.caption]
  if args.image or args.caption:
    raise errors.UserError(
      '--file has images and captions of its own; leave out --image and '
      '--caption'
    )
  files.check_different({'--json': args.json, '--file': args.file})
  pairs = tables.read_pairs(paths.file(str(args.file)))
  if not pairs:
    raise errors.UserError(f'{args.file} has no pairs of image and caption')
  return pairs


def _without_errors(
  batches: Iterator[list[checked.Line]],
) -> list[checked.Line]:
  """Returns all results; raises UserError for the first that failed."""
  lines = list(itertools.chain.from_iterable(batches))
  for line in lines:
    if line.checked is None:
      raise errors.UserError(line.error)
  return lines


def _output_all(
  args: argparse.Namespace,
  batches: Iterator[list[checked.Line]],
  total: int,
  title: str,
) -> None:
  """Prints or writes the results of a file, and says what failed."""
  failed, first = 0, ''

  def counted(bar: Any) -> Iterator[list[checked.Line]]:
    nonlocal failed, first
    for lines in batches:
      found = [line.error for line in lines if line.checked is None]
      failed += len(found)
      first = first or ''.join(found[:1])
      yield lines
      bar.update(len(lines))

  # A table that is printed shows how far it is.
  with progress.progress_bar(
    total, 'checking', 'pairs', is_shown=not _prints_table(args)
  ) as bar:
    _output(args, counted(bar), title)
  if failed == total:
    raise errors.UserError(
      f'{args.file}: none of its {total:,} pairs could be checked; the first: '
      f'{first}'
    )
  if failed:
    _say(
      f'{args.file}: {failed:,} of {total:,} pairs could not be checked, and '
      f'have an error instead; the first: {first}'
    )


def _prints_table(args: argparse.Namespace) -> bool:
  return args.json is None and sys.stdout.isatty()


def _output(
  args: argparse.Namespace, batches: Iterator[list[checked.Line]], title: str
) -> None:
  if _prints_table(args):
    for lines in batches:
      checked.print_lines(lines, title)
    return
  texts = (
    ''.join(f'{json.dumps(checked.to_json(line))}\n' for line in lines)
    for lines in batches
  )
  if args.json is None:
    for text in texts:
      print(text, end='', flush=True)
  else:
    files.write_whole(
      args.json, lambda file: [file.write(text.encode()) for text in texts]
    )


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
