"""`tagsdc evaluate`: ranks a split with a trained model."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import opening
from tagsdc_jax.models import retrieval
from tagsdc_jax.reporting import tables
from tagsdc_jax.running import building, evaluation, folder
from tagsdc_jax.training import checkpoints, initialising

HELP = 'rank captions and images of a split with a trained model'
EXAMPLES = """examples:
  tagsdc evaluate runs/tags
  tagsdc evaluate runs/tags --split validation --json result.json
  tagsdc evaluate runs/tags/checkpoints/kept/2000 --scores scores.npy
  tagsdc evaluate runs/tags --config.evaluation.tile_texts=8
  tagsdc evaluate runs/tags --config.quirks.untrained_rank_head=true
A run folder stands for its best checkpoint by validation.
"""
NEEDS_CONFIG = False
TILES = ('tile_texts', 'tile_images')
QUIRKS = {
    'untrained_rank_head': 'rank with the head that stage 1 began with',
    'float16_scores': 'round the scores before they are ranked',
    'overcounted_recall': 'count image retrieval as the PyTorch release does',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument('model', type=Path, help='run folder or checkpoint')
  parser.add_argument('--split', choices=opening.SPLITS, default='test')
  parser.add_argument('--data-root', help='folder of the data, if moved')
  parser.add_argument('--json', type=Path, help='write the result here')
  parser.add_argument('--scores', type=Path,
                      help='write the scores here, .npy [captions, images]')
  for name in TILES:
    parser.add_argument(f'--config.evaluation.{name}', type=int, dest=name,
                        metavar='NUMBER', help='scored at once; fewer take '
                        'less memory (default: as trained)')
  for name, meaning in QUIRKS.items():
    parser.add_argument(f'--config.quirks.{name}', choices=('true', 'false'),
                        dest=name, help=f'{meaning} (default: as trained)')


def run(args: argparse.Namespace, config: None = None) -> None:
  """Evaluates and prints the table."""
  del config
  _check_outputs(args)
  loaded = checkpoints.load(args.model)
  trained_with = checkpoints.settings_of(loaded)
  if args.data_root is not None:
    trained_with = dataclasses.replace(
        trained_with,
        data=dataclasses.replace(trained_with.data, root=args.data_root))
  tiles = {name: getattr(args, name) for name in TILES if getattr(args, name)}
  quirks = {name: getattr(args, name) == 'true' for name in QUIRKS
            if getattr(args, name)}
  trained_with = dataclasses.replace(
      trained_with,
      evaluation=dataclasses.replace(trained_with.evaluation, **tiles),
      quirks=dataclasses.replace(trained_with.quirks, **quirks))
  data = opening.open_split(trained_with.data, args.split)
  trained_with = building.with_data_sizes(trained_with, data)
  model = building.make_model(trained_with)
  checkpoints.check_parameters(loaded.parameters,
                               retrieval.parameter_shapes(model), loaded.path)
  phase, parameters = loaded.about['phase'], loaded.parameters
  # Pretraining ranks with both rows of its head; it has lost nothing.
  if trained_with.quirks.untrained_rank_head and phase != 'pretrain':
    parameters = initialising.reset_rank_head(parameters)
  result, scores = evaluation.evaluate_on_host(
      model, parameters, data, trained_with, phase)
  tables.print_recalls([(f'{phase}, update '
                         f'{loaded.about["update"]}', result)],
                       f'{data.name}, per cent')
  print(f'{result["captions"] * result["images"]:,} pairs in '
        f'{result["seconds"]:.1f} s')
  if args.json is not None:
    folder.write_json(args.json, result | {'checkpoint': str(loaded.path)})
  if args.scores is not None:
    folder.write_whole(args.scores, lambda file: np.save(file, scores))


def _check_outputs(args: argparse.Namespace) -> None:
  """Raises UserError before the work for what would be lost after it."""
  for path in (args.json, args.scores):
    if path is not None and not path.parent.is_dir():
      raise errors.UserError(f'{path} cannot be written: folder {path.parent} '
                             'is missing; make it, or give another path')
