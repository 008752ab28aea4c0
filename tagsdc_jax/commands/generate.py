"""`tagsdc generate`: writes tailored negatives of captions to a file."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagsdc_jax import arguments, environment, errors, settings, shipped
from tagsdc_jax.commands import trained
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.negative_files import choosing, records
from tagsdc_jax.negative_files.exports import source as export_source
from tagsdc_jax.negative_files.exports import writing as exports
from tagsdc_jax.preparing import annotating
from tagsdc_jax.reporting import card_tables
from tagsdc_jax.runs import (
  caption_files,
  example_negatives,
  generating,
  negatives_maker,
  negatives_page,
  pictures,
)
from tagsdc_jax.runtime import distributed
from tagsdc_jax.settings import kinds
from tagsdc_jax.training import checkpoints

HELP = 'write tailored negatives of captions: sentences with one thing wrong'
EXAMPLES = """examples:
  tagsdc generate runs/mine/dc negatives --split train
  tagsdc generate runs/mine/dc negatives --max-true 0.2 --balance \\
      --config.negatives.num_copies=20 --config.negatives.num_samples=20
  tagsdc generate runs/mine/tags swaps --source word_swap --judge runs/mine/dc
The folder gets negatives.jsonl (one caption per line) and page.html, which
shows what they are like. Of a run folder, the checkpoint with the best
validation is used. Run the same command again to continue.
"""
NEEDS_CONFIG = False
# Settings that may differ from those of training.
CHANGED = (
  *(
    name
    for name in settings.ALL
    if name.startswith('negatives.')
    and name != 'negatives.sources'
    and name not in generating.OF_TRAINING
  ),
  'seed',
  'compute.dtype',
  'compute.attention',
  'compute.matmul_precision',
  'compute.score_tokens',
  'num_devices',
  'extensions',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'model', type=arguments.location, help='run folder or checkpoint'
  )
  parser.add_argument(
    'out', type=arguments.folder, metavar='OUT', help='new folder'
  )
  trained.add_options(parser, CHANGED)
  parser.add_argument(
    '--captions',
    type=arguments.path,
    metavar='FILE',
    help='captions of pictures of the split, in a format that tagsdc prepare '
    "reads (default: the split's own)",
  )
  parser.add_argument(
    '--phrases',
    choices=annotating.PHRASES,
    default='spacy',
    help='what is a unit in captions of a file, see tagsdc prepare (default: '
    '%(default)s)',
  )
  sources = parser.add_argument_group('candidates')
  sources.add_argument(
    '--source',
    nargs='+',
    default=[],
    metavar='NAME',
    help='mask_refill, static_refill, word_swap, or your own module:function '
    "(default: those of the run's settings that write)",
  )
  sources.add_argument(
    '--start',
    type=arguments.location,
    metavar='RUN',
    help='run whose language head writes for static_refill (default: the one '
    'that the run started from)',
  )
  kept = parser.add_argument_group('what is kept')
  count = arguments.of_kind(kinds.Whole(1, 10_000))
  share = arguments.of_kind(kinds.Number(0, 1))
  kept.add_argument(
    '--per-caption',
    type=count,
    default=4,
    metavar='NUMBER',
    help='most negatives of a caption (default: %(default)s)',
  )
  kept.add_argument(
    '--per-unit',
    type=count,
    default=2,
    metavar='NUMBER',
    help='most that change the same phrase (default: %(default)s)',
  )
  kept.add_argument(
    '--balance',
    action='store_true',
    help='objects, attributes and relations in turn (default: those with the '
    'highest scores)',
  )
  kept.add_argument(
    '--max-true',
    type=share,
    default=0.5,
    metavar='P',
    help='drop what is true of the picture with a probability above P, as '
    'calibrated on the validation split; 1: keep all (default: %(default)s)',
  )
  kept.add_argument(
    '--judge',
    type=arguments.location,
    metavar='RUN',
    help='another run that says what is true (default: the same)',
  )
  kept.add_argument(
    '--fluency',
    type=share,
    default=0.01,
    metavar='SHARE',
    help='drop sentences with a word that fits its two predecessors worse than '
    'all but this share of the words of captions; 0: keep all (default: '
    '%(default)s)',
  )
  written = parser.add_argument_group('other formats, see tagsdc export')
  written.add_argument(
    '--export',
    nargs='+',
    default=[],
    choices=tuple(exports.FORMATS),
    metavar='FORMAT',
    help=f'also write one or more of {", ".join(exports.FORMATS)} into OUT',
  )
  written.add_argument(
    '--images',
    type=arguments.folder,
    metavar='FOLDER',
    help='folder of the pictures (default: that of the data)',
  )


def run(args: argparse.Namespace, config: None = None) -> None:
  """Generates negatives."""
  del config
  if args.images is not None and not args.export:
    raise errors.UserError(
      '--images is read by --export, which is missing; pass both, or neither'
    )
  if args.judge is not None and args.max_true == 1:
    raise errors.UserError(
      '--judge says what is true for --max-true, which is 1; leave one out'
    )
  distributed.start()
  environment.open_devices()
  loaded = checkpoints.load(shipped.find(args.model))
  used = trained.settings_of(
    args, loaded, CHANGED, fixed=generating.OF_TRAINING
  )
  sources = example_negatives.writers(used, tuple(args.source))
  pictures_of = generating.find_photos(used.data, args.split)
  _check_exports(args, *pictures_of)
  data = opening.open_split(used.data, args.split, used.extensions)
  say = lambda line: print(line, flush=True)
  if args.captions is not None:
    data = caption_files.read(
      args.captions, data, args.phrases, used.model.max_positions - 2, say
    )
  if args.balance and not any(one.phrase_kinds for one in data.captions):
    say(
      '--balance has no effect: the phrases of the captions are of no known '
      'kind'
    )
  path = generating.generate(
    args.out,
    negatives_maker.Request(
      loaded,
      used,
      sources,
      data,
      *pictures_of,
      choosing.Limits(
        args.per_caption,
        args.per_unit,
        args.balance,
        None if args.max_true == 1 else args.max_true,
        None,
      ),
      args.fluency,
      judge=args.judge and checkpoints.load(shipped.find(args.judge)),
      start=_start(args, sources, used),
    ),
    say,
  )
  distributed.on_first(lambda: _show(args, path, data, used))


def _check_exports(
  args: argparse.Namespace, names: Sequence[str], photos: str
) -> None:
  """Raises UserError if formats cannot be written, before the work.

  Args:
    args: the flags.
    names: paths of the pictures, see `generating.find_photos`.
    photos: their folder.
  """
  folder = str(args.images or photos)
  for name in args.export:
    exports.check_options(name, _options(args))
    form = exports.FORMATS[name]
    missing = not names or not folder
    if form.opens_pictures and (
      missing
      or not all(name and (Path(folder) / name).is_file() for name in names)
    ):
      raise errors.UserError(
        f'--export {name} contains the pictures, and the data '
        + ('has none' if missing else f'has some that are not in {folder}')
        + '; leave it out, or pass --images with their folder'
      )


def _show(
  args: argparse.Namespace,
  path: Path,
  data: dataset.RetrievalDataset,
  used: settings.Settings,
) -> None:
  """Prints the quality card, and writes the page and the exports."""
  file = records.File(path)
  card_tables.print_card(file.header['card'])
  page = negatives_page.write_page(
    path, find=pictures.by_name(used.data, data, args.split)
  )
  print(f'{path}\n{page}')
  for name in args.export:
    form = exports.FORMATS[name]
    target = args.out / f'{name}{form.suffix}'
    if form.is_folder and target.exists():
      print(f'{target} is there already')
      continue
    report = exports.write(file, target, name, _options(args))
    print('\n'.join(report.lines))


def _options(args: argparse.Namespace) -> export_source.Options:
  return export_source.Options(str(args.images or ''))


def _start(
  args: argparse.Namespace, sources: Any, used: settings.Settings
) -> checkpoints.Loaded | None:
  """Returns the weights that `static_refill` writes with."""
  needs_start = [one.name for one in sources if one.needs_start]
  if not needs_start:
    if args.start is not None:
      raise errors.UserError(
        '--start is read by static_refill only; leave it out, or add it to '
        '--source'
      )
    return None
  path = args.start or used.init_from
  if path in ('', settings.FRESH, settings.REQUIRED):
    raise errors.UserError(
      f'{needs_start[0]} writes with the weights from which the run started, '
      'and the run does not say where they are; pass --start RUN'
    )
  return checkpoints.load(shipped.find(path))
