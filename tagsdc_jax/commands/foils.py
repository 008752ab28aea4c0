"""`tagsdc foils`: scores benchmarks of foils with a trained model."""

import argparse
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import arguments, environment, errors, files, settings, shipped
from tagsdc_jax.commands import trained
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.foil_files import half_truths, reading, records
from tagsdc_jax.foil_files import world as world_foils
from tagsdc_jax.reporting import foils as tables
from tagsdc_jax.runs import (
  foil_pages,
  foil_pictures,
  foil_reading,
  foils,
  folder,
  loading,
)
from tagsdc_jax.runtime import distributed, memory, parallel, watchdog
from tagsdc_jax.training import checkpoints, head_init

HELP = 'score benchmarks of foils: true captions against false ones'
EXAMPLES = """examples:
  tagsdc foils runs/coco/dc sugar-crepe/data/*.json --json sugarcrepe.json
  tagsdc foils runs/coco/dc VALSE/data/*.json --data data/coco --page page.html
  tagsdc foils runs/mine/dc negatives/negatives.jsonl
  tagsdc foils runs/mine/dc --half-truths --write half_truths.csv
  tagsdc foils runs/demo/dc world:test
Reads SugarCrepe, SugarCrepe++, BiVLC, VALSE, FG-OVD, FOIL, ARO, VL-CheckList,
Winoground, ColorSwap, COLA, tables with a list of foils, and negatives of
tagsdc generate; a file is recognized by its content. Pictures are found by name
in the run's data, or in other prepared data. Of a run folder, the checkpoint
with the best validation is used.
"""
NEEDS_CONFIG = False
# Files may stand behind options, too; see main.py.
LISTED = 'files'
# Settings that may differ from those of training.
CHANGED = (*trained.SCORING, 'num_devices', 'hang_seconds')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'model', type=arguments.location, help='run folder or checkpoint'
  )
  parser.add_argument(
    'files',
    nargs='*',
    type=arguments.location,
    metavar='FILE',
    help="foil files; world:test are the embedded world's own foils",
  )
  parser.add_argument(
    '--half-truths',
    action='store_true',
    help='also make short true captions against longer ones with one false '
    'object, attribute or relation, from the phrases of --split (default: '
    'test), and score them',
  )
  parser.add_argument(
    '--seed',
    type=arguments.setting('seed'),
    default=0,
    help='of the half-truths (default: %(default)s)',
  )
  data = parser.add_argument_group('pictures')
  data.add_argument(
    '--data',
    type=arguments.folder,
    metavar='FOLDER',
    help="prepared data that has the pictures (default: the run's data)",
  )
  data.add_argument(
    '--split',
    nargs='+',
    choices=opening.SPLITS,
    help='splits that are looked through (default: all)',
  )
  data.add_argument(
    '--data-root',
    type=arguments.setting('data.root'),
    metavar='FOLDER',
    help="where the run's data is, if it was moved",
  )
  data.add_argument(
    '--vocabulary',
    type=arguments.location,
    metavar='FILE|NAME',
    help='vocab.txt or hub name, for data of token ids alone',
  )
  out = parser.add_argument_group('results')
  out.add_argument(
    '--no-language-head',
    action='store_true',
    help='do not read the sentences without pictures, which takes a pass per '
    'word',
  )
  out.add_argument(
    '--json', type=arguments.path, help='write the results to this file'
  )
  out.add_argument(
    '--page',
    type=arguments.path,
    metavar='FILE',
    help='write a page with results and examples to this .html file',
  )
  out.add_argument(
    '--write',
    type=arguments.path,
    metavar='FILE',
    help="write half-truths, or the world's foils, to this .csv file",
  )
  trained.add_settings(parser, CHANGED)


def run(args: argparse.Namespace, config: None = None) -> None:
  """Scores foil files and prints the tables."""
  del config
  _check(args)
  distributed.start()
  environment.open_devices()
  # Before the data is opened, which takes longer.
  read = reading.read_all([Path(x) for x in args.files if not _is_made(x)])
  loaded = checkpoints.load(shipped.find(args.model))
  own, used = _settings(args, loaded)
  splits, lines = foil_pictures.open_splits(used, args.split)
  made = _made(args, used, splits)
  train, unknown = foil_pictures.training_contents(
    own, splits.get('train') if args.data is None else None
  )
  used, model = loading.open_model(loaded, used, next(iter(splits.values())))
  # Captions take room, and are no longer needed.
  shelf = foil_pictures.Shelf(
    {name: foil_pictures.bare(data) for name, data in splits.items()},
    foil_pictures.sizes_of(used.data),
    train,
  )
  del splits
  phase = loaded.about['phase']
  devices = parallel.local_devices(used.num_devices)
  with memory.explained(used, memory.SCORING, devices):
    params = parallel.replicate(
      loading.ranking_parameters(loaded, used), devices
    )
  network = foil_reading.Network(
    used,
    model,
    head_init.matching_parameters(params, phase),
    phase,
    devices,
    watchdog.Watch(used.hang_seconds),
  )
  results, benchmarks = foils.evaluate(
    [*read, *made], shelf, network, with_fluency=not args.no_language_head
  )
  results |= {'checkpoint': str(loaded.path), 'update': loaded.about['update']}
  notes = [
    *tables.notes(results, foils.REASONS, records.LEFT_OUT),
    *filter(None, [*lines, unknown]),
  ]
  distributed.on_first(
    lambda: _show(args, used, results, benchmarks, shelf, notes, made)
  )


def _show(
  args: argparse.Namespace,
  config: settings.Settings,
  results: dict[str, Any],
  benchmarks: list[foils.Benchmark],
  shelf: foil_pictures.Shelf,
  notes: list[str],
  made: list[records.FoilFile],
) -> None:
  """Prints the tables and writes the requested files."""
  is_taken = any(map(files.is_stdout, (args.json, args.page, args.write)))
  with contextlib.redirect_stdout(sys.stderr if is_taken else sys.stdout):
    try:
      tables.print_results(results)
      for line in notes:
        print(line)
      print(
        f'{results["pairs"]:,} pairs of {results["pictures"]:,} pictures in '
        f'{results["seconds"]:.1f} s'
      )
    finally:  # A closed pipe (`| head`) must not prevent the files.
      if args.json is not None:
        files.write_json(args.json, results | {'notes': notes})
      if args.write is not None:
        files.write_bytes(args.write, half_truths.to_csv(made))
      if args.page is not None:
        foil_pages.write(
          args.page, config.data, results, benchmarks, shelf, notes
        )


def _is_made(name: str) -> bool:
  return name.startswith(world_foils.PREFIX)


def _check(args: argparse.Namespace) -> None:
  """Raises UserError up front for anything that would fail after scoring."""
  for path in (args.json, args.page, args.write):
    if path is not None:
      files.check_target(path)
      folder.check_not_of_a_run(path)
  files.check_different(
    {'--json': args.json, '--page': args.page, '--write': args.write}
    | {
      f'the foil file {name}': Path(name)
      for name in dict.fromkeys(args.files)
      if not _is_made(name)
    }
  )
  makes = args.half_truths or any(map(_is_made, args.files))
  if args.write is not None and not makes:
    raise errors.UserError(
      '--write writes what is made here; pass --half-truths, or world:test as '
      'a file'
    )
  if not (args.files or args.half_truths):
    raise errors.UserError(
      'pass foil files, world:test, or --half-truths; see tagsdc foils --help'
    )
  for name in filter(_is_made, args.files):
    split = name.removeprefix(world_foils.PREFIX)
    if split not in opening.SPLITS:
      raise errors.UserError(
        f'{name}: the split must be one of {", ".join(opening.SPLITS)}'
      )


def _settings(
  args: argparse.Namespace, loaded: checkpoints.Loaded
) -> tuple[settings.Settings, settings.Settings]:
  """Returns the settings of training, and those that name the pictures."""
  own = trained.settings_of(args, loaded, CHANGED, needs_data=args.data is None)
  if args.vocabulary is not None:
    own = loading.overridden(own, {'data.vocabulary': args.vocabulary})
  if args.data is None:
    return own, own
  other = {'data.source': 'prepared', 'data.root': str(args.data)}
  return own, loading.overridden(own, other)


def _made(
  args: argparse.Namespace,
  config: settings.Settings,
  splits: Mapping[str, dataset.RetrievalDataset],
) -> list[records.FoilFile]:
  """Returns the foils that are made here: the world's, and half-truths."""
  made = []
  for name in filter(_is_made, dict.fromkeys(args.files)):
    split = name.removeprefix(world_foils.PREFIX)
    if config.data.source != 'world':
      raise errors.UserError(
        f'{name} are foils of the embedded world, but the data is '
        f'{config.data.source}; pass a run that was trained on the world'
      )
    if split not in splits:
      raise errors.UserError(f'{name} needs --split {split}')
    made.append(
      world_foils.make(splits[split], opening.load_scenes(config.data, split))
    )
  if args.half_truths:
    chosen = args.split or ['test']
    missing = next((name for name in chosen if name not in splits), None)
    if missing:
      raise errors.UserError(
        f'--half-truths are made from the captions of {missing}, which cannot '
        'be opened; pass --split'
      )
    made += [half_truths.make(splits[name], args.seed) for name in chosen]
  return made
