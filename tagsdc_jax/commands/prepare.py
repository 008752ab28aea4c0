"""`tagsdc prepare`: makes a data set of what people have, or checks one."""

import argparse
import dataclasses
import itertools
import os
from pathlib import Path

from tagsdc_jax import arguments, environment, errors, settings
from tagsdc_jax.data import assembling, dataset, opening, overlaps
from tagsdc_jax.preparing import annotating, listing
from tagsdc_jax.preparing.photos import store as photo_store
from tagsdc_jax.preparing.regions import opening as region_files
from tagsdc_jax.runs import preparing
from tagsdc_jax.runtime import progress
from tagsdc_jax.settings import kinds

HELP = 'prepare captions with features or photos for training, or check data'
EXAMPLES = """examples:
  tagsdc prepare data/flickr30k --captions dataset_flickr30k.json \\
      --regions flickr30k_butd.tsv --vocabulary bert-base-cased
  tagsdc prepare data/mine --captions photos.csv --images photos \\
      --extractor grid --encoder facebook/dinov2-small
  tagsdc prepare data/coco --captions train=coco_train.json \\
      validation=coco_val.json test=coco_test.json --regions coco_precomp
  tagsdc prepare data/copy --config own_small_tags --config.data.root=DATA
  tagsdc prepare --config world_tags
The first three write a data set from files. With --config, the data that a
config reads is copied into the folder, or checked if there is no folder. Train
on a prepared folder with --config.data.source=prepared
--config.data.root=FOLDER. Run the same command again to continue one that was
stopped.
"""
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'out',
    nargs='?',
    metavar='OUT',
    type=arguments.folder,
    help='folder of the data set: a new one, or one to continue',
  )
  captions = parser.add_argument_group('captions')
  captions.add_argument(
    '--captions',
    nargs='+',
    action='extend',
    default=[],
    type=_captions,
    metavar='[SPLIT=]FILE',
    help="Karpathy's, COCO's or LAVIS's JSON, JSON lines, CSV, "
    'Flickr8k.token.txt or a precomp folder; SPLIT= for files that do not say '
    f'which split ({", ".join(listing.SPLITS)}) they are',
  )
  captions.add_argument(
    '--vocabulary',
    type=arguments.location,
    default='bert-base-cased',
    metavar='FILE|NAME',
    help='WordPiece vocab.txt, or a hub name (default: %(default)s)',
  )
  captions.add_argument(
    '--phrases',
    choices=annotating.PHRASES,
    default='spacy',
    help='what is masked as a unit: objects, attributes and relations of '
    "spaCy's parse, which needs the extra scenegraph; all words but "
    'function words; or none, single tokens (default: %(default)s)',
  )
  for split in ('validation', 'test'):
    captions.add_argument(
      f'--{split}',
      type=_amount,
      default=0.1,
      metavar='NUMBER|SHARE',
      help=f'pictures drawn for {split}, if no file has that split '
      '(default: %(default)s)',
    )
  captions.add_argument(
    '--seed',
    type=arguments.setting('seed'),
    default=0,
    help='seed of what is drawn (default: %(default)s)',
  )
  captions.add_argument(
    '--restval',
    choices=('train', 'skip'),
    default='train',
    help="use of COCO's restval pictures (default: %(default)s)",
  )
  regions = parser.add_argument_group('regions: a feature file, or photos')
  regions.add_argument(
    '--regions',
    type=arguments.path,
    metavar='PATH',
    help='file or folder of region features',
  )
  regions.add_argument(
    '--regions-format',
    choices=tuple(region_files.STORES),
    help='its format (default: found out by looking)',
  )
  regions.add_argument(
    '--images',
    type=arguments.folder,
    metavar='FOLDER',
    help='photos: to compute regions from, or, with --regions, for the sizes '
    'of pictures and for the page',
  )
  regions.add_argument(
    '--extractor',
    choices=photo_store.EXTRACTORS,
    help='regions of photos: grid, cells of a vision transformer; detector, '
    'boxes of a detector, which needs pip install "tagsdc_jax[vision]"; '
    'pixels, for tests (default: grid)',
  )
  regions.add_argument(
    '--encoder',
    type=arguments.location,
    metavar='FOLDER|NAME',
    help='vision transformer of grid and detector: a Hugging Face folder or '
    'hub name',
  )
  regions.add_argument(
    '--detector',
    type=arguments.location,
    metavar='FOLDER|NAME',
    help='object detector: a Hugging Face folder or hub name',
  )
  regions.add_argument(
    '--max-regions',
    type=arguments.setting('data.max_regions'),
    default=100,
    metavar='NUMBER',
    help='most regions per picture, by confidence (default: %(default)s)',
  )
  work = parser.add_argument_group('work')
  work.add_argument(
    '--max-left-out',
    type=arguments.of_kind(kinds.Number(0, 1)),
    default=0.01,
    metavar='SHARE',
    help='share of the pictures that may be left out because they have no '
    'regions or cannot be read (default: %(default)s)',
  )
  work.add_argument(
    '--workers',
    type=arguments.of_kind(kinds.Whole(1, 1024)),
    default=len(os.sched_getaffinity(0)),
    metavar='NUMBER',
    help='processes for feature files, not photos (default: one per core)',
  )
  work.add_argument(
    '--part',
    type=arguments.part,
    default=(0, 1),
    metavar='I/N',
    help='do the I-th of N parts, e.g. on several machines that share a disk; '
    'the last part to be done completes OUT',
  )
  parser.add_argument(
    '--config',
    metavar='NAME|FILE',
    help='config whose data is copied or checked; override with '
    '--config.NAME=VALUE',
  )


def run(args: argparse.Namespace, config: settings.Settings | None) -> None:
  """Prepares a data set, or checks one."""
  work = preparing.Work(args.workers, args.part, args.max_left_out)
  given = args.captions or args.regions or args.images
  if config is not None:
    if given:
      raise errors.UserError(
        '--config and --captions, --regions or --images exclude each other; a '
        'config names its own data'
      )
    if args.out is None:
      _check(config)
    else:
      preparing.from_config(args.out, config, work, _say)
    return
  if args.out is None or not args.captions:
    raise errors.UserError(
      'pass a folder OUT and --captions with --regions or --images, or '
      '--config; see tagsdc prepare --help'
    )
  preparing.from_files(args.out, _request(args), work, _say)


def _request(args: argparse.Namespace) -> preparing.Request:
  for flag in ('extractor', 'encoder', 'detector'):
    if getattr(args, flag) is not None and args.regions:
      raise errors.UserError(
        f'--{flag} computes regions of photos, and --regions reads them from a '
        'file; pass one of the two'
      )
  if args.regions is None and args.images is None:
    raise errors.UserError(
      'regions are missing; pass --regions with a feature file, or --images '
      'with a folder of photos'
    )
  if args.regions is None:
    environment.open_devices()
  return preparing.Request(
    captions=args.captions,
    regions=str(args.regions or ''),
    regions_kind=args.regions_format,
    photos=str(args.images or ''),
    extractor=args.extractor or ('' if args.regions else 'grid'),
    encoder=args.encoder or '',
    detector=args.detector or '',
    vocabulary=args.vocabulary,
    phrases=args.phrases,
    validation=args.validation,
    test=args.test,
    seed=args.seed,
    with_restval=args.restval == 'train',
    max_regions=args.max_regions,
  )


def _say(line: str) -> None:
  print(line, flush=True)


def _captions(text: str) -> tuple[str, Path]:
  """Returns (split, file) of SPLIT=FILE, ('', file) without a split."""
  name, equals, rest = text.partition('=')
  if not equals or Path(text).exists():
    return '', arguments.path(text)
  split = listing.SPLIT_NAMES.get(name)
  if split is None:
    raise argparse.ArgumentTypeError(
      f'{text} is missing, and {name!r} is no split: use one of '
      f'{", ".join(listing.SPLITS)}'
    )
  return split, arguments.path(rest)


def _amount(text: str) -> float:
  """Returns a number of pictures, or a share below 1."""
  number = arguments.of_kind(kinds.Number(0, 1e9))(text)
  if number > 1 and number != int(number):
    raise argparse.ArgumentTypeError(
      f'it must be a whole number, or a share below 1, got {text!r}'
    )
  return number


def _check(config: settings.Settings) -> None:
  """Reads every split completely and prints what it contains."""
  # Nothing is read twice.
  source = dataclasses.replace(config.data, cache_regions=False)
  splits = {}
  for split in opening.SPLITS:
    data = opening.open_split(source, split, config.extensions)
    splits[split] = data
    _read_all(data)
    shapes = assembling.shapes_of(data)
    print(
      f'{data.name}: {len(data.image_ids)} images, {len(data.captions)} '
      f'captions of up to {shapes.max_tokens} tokens and '
      f'{shapes.max_phrases} phrases, {data.feature_size} numbers per '
      f'region, up to {shapes.max_regions} regions'
    )
  for other, split in itertools.combinations(opening.SPLITS, 2):
    dataset.check_same_vocabulary(splits[other], splits[split])
    if found := overlaps.find(
      split, splits[split], other, dataset.contents_of(splits[other])
    ):
      print(found)


def _read_all(data: dataset.RetrievalDataset) -> None:
  """Reads all images; raises UserError for the first corrupt one."""
  with progress.progress_bar(
    len(data.image_ids), f'checking {data.name}', 'images'
  ) as bar:
    for image in range(len(data.image_ids)):
      data.read_regions(image)
      bar.update(1)
