"""`tagsdc prepare`: makes or checks the data before a run needs it."""

import argparse

from tagsdc_jax import settings
from tagsdc_jax.data import assembling, opening

HELP = 'make the embedded world, or check LMDB folders'
EXAMPLES = """examples:
  tagsdc prepare --config world_tags
  tagsdc prepare --config uniter_lmdb_small --config.data.root=DATA
"""
NEEDS_CONFIG = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Has no flags of its own."""
  del parser


def run(args: argparse.Namespace, config: settings.Settings) -> None:
  """Opens every split and prints what is in it."""
  del args
  for split in opening.SPLITS:
    data = opening.open_split(config.data, split)
    shapes = assembling.shapes_of(data)
    print(f'{data.name}: {len(data.image_ids)} images, {len(data.captions)} '
          f'captions of up to {shapes.max_tokens} tokens and '
          f'{shapes.max_phrases} phrases, {data.feature_size} numbers per '
          f'region, up to {shapes.max_regions} regions')
