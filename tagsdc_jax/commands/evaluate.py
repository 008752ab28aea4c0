"""`tagsdc evaluate`: ranks a split with a trained model."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import (
  arguments,
  environment,
  errors,
  extensions,
  files,
  paths,
  settings,
)
from tagsdc_jax.commands import trained
from tagsdc_jax.data import dataset, opening, overlaps
from tagsdc_jax.evaluation import first_pass, protocols
from tagsdc_jax.reporting import published, tables
from tagsdc_jax.runs import evaluation, folder, loading
from tagsdc_jax.runtime import distributed, memory, parallel, watchdog
from tagsdc_jax.settings import kinds
from tagsdc_jax.training import checkpoints

HELP = 'rank captions and images of a split with a trained model'
EXAMPLES = """examples:
  tagsdc evaluate runs/tags
  tagsdc evaluate runs/tags --split validation --json result.json
  tagsdc evaluate runs/tags/checkpoints/kept/2000 --scores scores.npy
  tagsdc evaluate runs/tags --config.evaluation.tile_texts=8
  tagsdc evaluate runs/tags --config.compute.attention=plain
  tagsdc evaluate runs/tags --config.num_devices=2
  tagsdc evaluate runs/tags --config.quirks.untrained_rank_head=true
  tagsdc evaluate runs/coco --protocol coco_5k coco_1k cxc eccv
  tagsdc evaluate runs/mine --protocol my_protocol:hard_captions
  tagsdc evaluate runs/large --first-pass small.npy --top-k-rerank 64
Of a run folder, the checkpoint with the best validation is evaluated. Run the
same command again to continue an interrupted evaluation.
"""
NEEDS_CONFIG = False
# Settings that may differ from those of training.
CHANGED = (
  *trained.SCORING,
  'evaluation.tile_texts',
  'evaluation.tile_images',
  'num_devices',
  'hang_seconds',
  'quirks.float16_scores',
  'quirks.overcounted_recall',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'model', type=arguments.path, help='run folder or checkpoint'
  )
  trained.add_options(parser, CHANGED)
  parser.add_argument(
    '--protocol',
    nargs='+',
    action='extend',
    default=[],
    type=arguments.of_kind(kinds.Named(tuple(protocols.PROTOCOLS))),
    metavar='NAME',
    help='also count as published numbers are counted: one or more of '
    f'{", ".join(protocols.PROTOCOLS)}, or your own module:function in the '
    "folder --config.extensions (default: that of the run's config file if "
    'the run uses extensions, else the current folder)',
  )
  parser.add_argument(
    '--json', type=arguments.path, help='write the result to this file'
  )
  parser.add_argument(
    '--scores',
    type=arguments.path,
    help='write the scores to this file, .npy [captions, images]',
  )
  parser.add_argument(
    '--top-k-rerank',
    metavar='K',
    type=arguments.of_kind(kinds.Whole(1, 2**31 - 1)),
    help='score only pairs among the top K of their caption or image in the '
    'first pass',
  )
  parser.add_argument(
    '--first-pass',
    type=arguments.path,
    metavar='FILE',
    help="a cheap model's scores, .npy [captions, images]",
  )
  parser.add_argument(
    '--work-dir',
    type=arguments.folder,
    help='store finished parts here until all are done (default: evaluation/ '
    'in the run folder)',
  )
  parser.add_argument(
    '--keep-work', action='store_true', help='do not remove the finished parts'
  )


def run(args: argparse.Namespace, config: None = None) -> None:
  """Evaluates and prints the tables."""
  del config
  _check(args)
  distributed.start()
  environment.open_devices()
  loaded = checkpoints.load(args.model)
  config_used = trained.settings_of(args, loaded, CHANGED)
  data = opening.open_split(
    config_used.data, args.split, config_used.extensions
  )
  config_used, model = loading.open_model(loaded, config_used, data)
  in_train: dict[str, Any] = {}
  # Before scoring, since an overlap may be a reason to stop.
  with _free_stdout(args):
    distributed.on_first(
      lambda: in_train.update(_in_train(config_used, args.split, data))
    )
  chosen = protocols.prepare(args.protocol, data, config_used.extensions)
  devices = parallel.local_devices(config_used.num_devices)
  with memory.explained(config_used, memory.SCORING, devices):
    params = parallel.replicate(
      loading.ranking_parameters(loaded, config_used), devices
    )
  found = evaluation.evaluate(
    model,
    params,
    data,
    config_used,
    loaded.about['phase'],
    devices,
    work_dir=args.work_dir or _work_dir(loaded.path),
    chosen=chosen,
    first=_first_pass(args, data),
    watch=watchdog.Watch(config_used.hang_seconds),
  )
  # The others wait for this: a process that exits early is considered dead.
  distributed.on_first(lambda: _show(args, loaded, data, found, in_train))


def _show(
  args: argparse.Namespace,
  loaded: checkpoints.Loaded,
  data: dataset.RetrievalDataset,
  found: evaluation.Evaluated,
  in_train: dict[str, Any],
) -> None:
  """Prints the tables and writes the requested files."""
  about = loaded.about
  name = f'{about["phase"]}, update {about["update"]}'
  with _free_stdout(args):
    try:
      _print(name, data, found.result)
    finally:  # A closed pipe (`| head`) must not prevent the files.
      _write(args, loaded, found, in_train)
    if found.cache and args.keep_work:
      print(f'parts kept in {found.cache.path}')
    elif found.cache:
      found.cache.remove()


def _free_stdout(args: argparse.Namespace) -> contextlib.redirect_stdout:
  """Prints to standard error where a file is written to standard output."""
  is_taken = files.is_stdout(args.json) or files.is_stdout(args.scores)
  return contextlib.redirect_stdout(sys.stderr if is_taken else sys.stdout)


def _write(
  args: argparse.Namespace,
  loaded: checkpoints.Loaded,
  found: evaluation.Evaluated,
  in_train: dict[str, Any],
) -> None:
  if args.json is not None:
    files.write_json(
      args.json, found.result | in_train | {'checkpoint': str(loaded.path)}
    )
  if args.scores is not None:
    files.write_whole(
      args.scores, lambda file: np.save(file, found.scores.matrix)
    )


def _in_train(
  config: settings.Settings, split: str, data: dataset.RetrievalDataset
) -> dict[str, Any]:
  """Returns `in_train`, the overlap of the split with train, and prints it.

  The overlap is counts of images and captions, or None if the training data
  cannot be read. For the training split itself the result is empty.

  Raises:
    UserError: if the training data has a different vocabulary.
  """
  if split == 'train':
    return {}
  try:
    train = opening.open_contents(config.data, 'train', config.extensions)
  except errors.UserError as error:
    print(f'{data.name}: cannot check for overlap with train: {error}')
    return {'in_train': None}
  dataset.check_same_vocabulary(train, data)
  found = overlaps.find(split, data, 'train', train)
  if found:
    print(found)
  return {'in_train': found.counts()}


def _check(args: argparse.Namespace) -> None:
  """Raises UserError up front for anything that would fail after scoring."""
  for path in (args.json, args.scores):
    if path is not None:
      files.check_target(path)
      folder.check_not_of_a_run(path)
  files.check_different(
    {
      '--json': args.json,
      '--scores': args.scores,
      '--first-pass': args.first_pass,
    }
  )
  if (args.top_k_rerank is None) != (args.first_pass is None):
    raise errors.UserError(
      '--top-k-rerank and --first-pass must be given together: a number K, and '
      "a file with a cheap model's scores of all pairs, as `tagsdc evaluate "
      '--scores` writes it; pass both, or neither to score every pair'
    )
  if args.first_pass is not None:
    paths.file(str(args.first_pass))


def _first_pass(
  args: argparse.Namespace, data: dataset.RetrievalDataset
) -> first_pass.FirstPass | None:
  if args.first_pass is None:
    return None
  return first_pass.load(args.first_pass, args.top_k_rerank, data)


def _work_dir(checkpoint: Path) -> Path:
  """Returns `evaluation/` in the checkpoint's run folder, or beside it."""
  run_dir = next(
    (
      parent
      for parent in checkpoint.parents
      if (parent / folder.CONFIG).is_file()
    ),
    checkpoint.parent,
  )
  return run_dir / 'evaluation'


def _print(
  name: str, data: dataset.RetrievalDataset, result: dict[str, Any]
) -> None:
  tables.print_recalls([(name, result)], f'{data.name}, percent')
  for protocol, counted in result.get('protocols', {}).items():
    rows = [(name, counted), *published.results(protocol)]
    title = f'{data.name}, protocol {protocol}'
    if extensions.is_own(protocol):
      tables.print_numbers(rows, title)
    else:
      show = (
        tables.print_precisions if protocol == 'eccv' else tables.print_recalls
      )
      show(rows, f'{title}, percent')
      for note in counted.get('notes', ()):
        print(f'protocol {protocol}: {note}')
  scored = result['pairs_per_second'] * result['seconds']
  print(
    f'{scored:,.0f} pairs in {result["seconds"]:.1f} s'
    + (
      f', {result["pairs_found"]:,} scored before'
      if result['pairs_found']
      else ''
    )
    + (
      f'; padding {100 * result["padding"]:.1f}%' if 'padding' in result else ''
    )
  )
  if 'first_pass' in result:
    first = result['first_pass']
    lost = first['lost']
    print(
      f'first pass: {first["pairs"]:,} of '
      f'{result["captions"] * result["images"]:,} pairs selected; '
      f'{lost["image_retrieval"]:.1f}% of the captions lost their image, '
      f'{lost["text_retrieval"]:.1f}% of the images lost all their captions'
    )
