"""`tagsdc prepare`: makes or checks the data before a run needs it."""

import argparse
import dataclasses
import itertools

from tagsdc_jax import settings
from tagsdc_jax.data import assembling, dataset, opening, overlaps
from tagsdc_jax.runtime import progress

HELP = 'make the embedded world, or check LMDB folders'
EXAMPLES = """examples:
  tagsdc prepare --config world_tags
  tagsdc prepare --config own_small_tags --config.data.root=DATA
"""
NEEDS_CONFIG = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds no flags."""
  del parser


def run(args: argparse.Namespace, config: settings.Settings) -> None:
  """Reads every split completely and prints what it contains."""
  del args
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
