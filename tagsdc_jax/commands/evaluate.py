"""`tagsdc evaluate`: ranks a split with a trained model."""

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tagsdc_jax import distributed, environment, errors, settings
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.evaluation import first_pass, protocols
from tagsdc_jax.models import retrieval
from tagsdc_jax.reporting import published, tables
from tagsdc_jax.running import building, evaluation_in_parts, folder
from tagsdc_jax.training import checkpoints, initialising

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
  tagsdc evaluate runs/large --first-pass small.npy --top-k-rerank 64
A run folder stands for its best checkpoint by validation. The same command
continues an evaluation that was interrupted.
"""
NEEDS_CONFIG = False
TILES = ('tile_texts', 'tile_images')
COMPUTE = {'dtype': settings.DTYPES, 'attention': settings.ATTENTION}
MACHINE = {
    'num_devices': (int, 'devices of each process to use, 0 for all'),
    'hang_seconds': (float, 'seconds after which one of several processes is '
                     'taken to hang, 0 for never'),
}
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
  parser.add_argument('--protocol', nargs='+', default=[],
                      choices=tuple(protocols.PROTOCOLS), metavar='NAME',
                      help='count as published numbers are, besides the whole '
                      f'split; of {", ".join(protocols.PROTOCOLS)}')
  parser.add_argument('--json', type=Path, help='write the result here')
  parser.add_argument('--scores', type=Path,
                      help='write the scores here, .npy [captions, images]')
  parser.add_argument('--top-k-rerank', type=int, metavar='K',
                      help='score only pairs among the K best of their caption '
                      'or image in the first pass')
  parser.add_argument('--first-pass', type=Path, metavar='FILE',
                      help='a cheap model\'s scores, .npy [captions, images]')
  parser.add_argument('--work-dir', type=Path, help='keep finished parts here '
                      'until all are (default: evaluation/ in the run folder)')
  parser.add_argument('--keep-work', action='store_true',
                      help='do not remove the finished parts')
  for name in TILES:
    parser.add_argument(f'--config.evaluation.{name}', type=int, dest=name,
                        metavar='NUMBER', help='scored at once; fewer take '
                        'less memory (default: as trained)')
  for name, choices in COMPUTE.items():
    parser.add_argument(f'--config.compute.{name}', choices=choices, dest=name,
                        help='(default: as trained)')
  for name, (kind, meaning) in MACHINE.items():
    parser.add_argument(f'--config.{name}', type=kind, dest=name,
                        metavar='NUMBER',
                        help=f'{meaning} (default: as trained)')
  for name, meaning in QUIRKS.items():
    parser.add_argument(f'--config.quirks.{name}', choices=('true', 'false'),
                        dest=name, help=f'{meaning} (default: as trained)')


def run(args: argparse.Namespace, config: None = None) -> None:
  """Evaluates and prints the tables."""
  del config
  _check(args)
  distributed.start()
  environment.open_devices()
  loaded = checkpoints.load(args.model)
  config_used = _settings(args, loaded)
  data = opening.open_split(config_used.data, args.split)
  config_used = building.with_data_sizes(config_used, data)
  model = building.make_model(config_used)
  checkpoints.check_parameters(loaded.parameters,
                               retrieval.parameter_shapes(model), loaded.path)
  phase, parameters = loaded.about['phase'], loaded.parameters
  # Pretraining ranks with both rows of its head; it has lost nothing.
  if config_used.quirks.untrained_rank_head and phase != 'pretrain':
    parameters = initialising.reset_rank_head(parameters)
  found = evaluation_in_parts.evaluate(
      model, parameters, data, config_used, phase,
      args.work_dir or _work_dir(loaded.path),
      chosen=protocols.prepare(args.protocol, data),
      first=_first_pass(args, data), process=jax.process_index(),
      num_processes=jax.process_count(), total=distributed.total)

  def show() -> None:
    if found is not None:
      _show(args, loaded, data, found)

  # The others stay until it is written: who leaves early is taken for dead.
  distributed.on_first(show)


def _show(args: argparse.Namespace, loaded: checkpoints.Loaded,
          data: dataset.RetrievalDataset,
          found: evaluation_in_parts.Evaluated) -> None:
  """Prints the tables and writes what was asked for."""
  about = loaded.about
  _print(f'{about["phase"]}, update {about["update"]}', data, found.result)
  if args.json is not None:
    folder.write_json(args.json,
                      found.result | {'checkpoint': str(loaded.path)})
  if args.scores is not None:
    folder.write_whole(args.scores,
                       lambda file: np.save(file, found.scores.matrix))
  if args.keep_work:
    print(f'parts kept in {found.parts.path}')
  else:
    found.parts.remove()


def _check(args: argparse.Namespace) -> None:
  """Raises UserError before the work for what would be lost after it."""
  for path in (args.json, args.scores):
    if path is not None and not path.parent.is_dir():
      raise errors.UserError(f'{path} cannot be written: folder {path.parent} '
                             'is missing; make it, or give another path')
  if (args.top_k_rerank is None) != (args.first_pass is None):
    raise errors.UserError(
        '--top-k-rerank and --first-pass need each other: a number K, and a '
        'file with a cheap model\'s scores of all pairs, as `tagsdc evaluate '
        '--scores` writes it; without both every pair is scored')
  for least, names in ((1, ('top_k_rerank', *TILES)), (0, MACHINE)):
    for name in names:
      value = getattr(args, name)
      # Not `<`: that would let nan pass.
      if value is not None and not value >= least:
        raise errors.UserError(f'{name} must be at least {least}, got {value}')


def _settings(args: argparse.Namespace,
              loaded: checkpoints.Loaded) -> settings.Settings:
  """Returns what the model was trained with, changed by the flags."""
  used = checkpoints.settings_of(loaded)

  def given(names: Iterable[str]) -> dict[str, Any]:
    values = {name: getattr(args, name) for name in names}
    return {name: x for name, x in values.items() if x is not None}

  quirks = {name: x == 'true' for name, x in given(QUIRKS).items()}
  root = used.data.root if args.data_root is None else args.data_root
  return dataclasses.replace(
      used, **given(MACHINE),
      # Every image is read once.
      data=dataclasses.replace(used.data, root=root, cache_regions=False),
      compute=dataclasses.replace(used.compute, **given(COMPUTE)),
      evaluation=dataclasses.replace(used.evaluation, **given(TILES)),
      quirks=dataclasses.replace(used.quirks, **quirks))


def _first_pass(args: argparse.Namespace, data: dataset.RetrievalDataset
                ) -> first_pass.FirstPass | None:
  if args.first_pass is None:
    return None
  return first_pass.load(args.first_pass, args.top_k_rerank, data)


def _work_dir(checkpoint: Path) -> Path:
  """Returns `evaluation/` in the checkpoint's run folder, or beside it."""
  run_dir = next((parent for parent in checkpoint.parents
                  if (parent / folder.CONFIG).is_file()), checkpoint.parent)
  return run_dir / 'evaluation'


def _print(name: str, data: dataset.RetrievalDataset,
           result: dict[str, Any]) -> None:
  tables.print_recalls([(name, result)], f'{data.name}, per cent')
  for protocol, counted in result.get('protocols', {}).items():
    show = (tables.print_precisions if protocol == 'eccv'
            else tables.print_recalls)
    show([(name, counted), *published.results(protocol)],
         f'{data.name}, protocol {protocol}, per cent')
  scored = result['pairs_per_second'] * result['seconds']
  print(f'{scored:,.0f} pairs in {result["seconds"]:.1f} s'
        + (f', {result["pairs_found"]:,} before' if result['pairs_found']
           else '')
        + (f'; padding {100 * result["padding"]:.1f} %'
           if 'padding' in result else ''))
  if 'first_pass' in result:
    first = result['first_pass']
    lost = first['lost']
    print(f'first pass: {first["pairs"]:,} of '
          f'{result["captions"] * result["images"]:,} pairs left; '
          f'{lost["image_retrieval"]:.1f} % of the captions lost their image, '
          f'{lost["text_retrieval"]:.1f} % of the images all their captions')
