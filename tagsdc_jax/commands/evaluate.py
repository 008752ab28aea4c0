"""`tagsdc evaluate`: ranks a split with a trained model."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import opening
from tagsdc_jax.models import retrieval
from tagsdc_jax.reporting import tables
from tagsdc_jax.running import building, evaluation, folder
from tagsdc_jax.training import checkpoints

HELP = 'rank captions and images of a split with a trained model'
EXAMPLES = """examples:
  tagsdc evaluate runs/tags
  tagsdc evaluate runs/tags --split validation --json result.json
  tagsdc evaluate runs/tags/checkpoints/kept/2000 --scores scores.npy
A run folder stands for its best checkpoint by validation.
"""
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument('model', type=Path, help='run folder or checkpoint')
  parser.add_argument('--split', choices=opening.SPLITS, default='test')
  parser.add_argument('--data-root', help='folder of the data, if moved')
  parser.add_argument('--json', type=Path, help='write the result here')
  parser.add_argument('--scores', type=Path,
                      help='write the scores here, .npy [captions, images]')


def run(args: argparse.Namespace, config: None = None) -> None:
  """Evaluates and prints the table."""
  del config
  loaded = checkpoints.load(args.model)
  trained_with = settings.from_flat(loaded.about['settings'])
  if args.data_root is not None:
    trained_with = dataclasses.replace(
        trained_with,
        data=dataclasses.replace(trained_with.data, root=args.data_root))
  data = opening.open_split(trained_with.data, args.split)
  trained_with = building.with_data_sizes(trained_with, data)
  model = building.make_model(trained_with)
  checkpoints.check_parameters(loaded.parameters,
                               retrieval.parameter_shapes(model), loaded.path)
  result, scores = evaluation.evaluate_on_host(
      model, loaded.parameters, data, trained_with, loaded.about['phase'])
  tables.print_recalls([(f'{loaded.about["phase"]}, update '
                         f'{loaded.about["update"]}', result)],
                       f'{data.name}, per cent')
  print(f'{result["captions"] * result["images"]:,} pairs in '
        f'{result["seconds"]:.1f} s')
  if args.json is not None:
    folder.write_json(args.json, result | {'checkpoint': str(loaded.path)})
  if args.scores is not None:
    np.save(args.scores, scores)
