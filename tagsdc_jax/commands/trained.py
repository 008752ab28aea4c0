"""Options of commands that use a trained network: its data, and settings."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tagsdc_jax import arguments, errors, settings
from tagsdc_jax.data import opening
from tagsdc_jax.runs import loading
from tagsdc_jax.training import checkpoints

# Settings of a network that scores, which may differ from those of training.
SCORING = (
  'compute.dtype',
  'compute.attention',
  'compute.matmul_precision',
  'extensions',
  'quirks.untrained_rank_head',
)


def add_options(
  parser: argparse.ArgumentParser, changed: Sequence[str]
) -> None:
  """Adds --split, --data-root, and a flag for every setting that may change.

  Args:
    parser: of the command.
    changed: names of the settings that may differ from those of training.
  """
  parser.add_argument('--split', choices=opening.SPLITS, default='test')
  parser.add_argument(
    '--data-root',
    type=arguments.setting('data.root'),
    metavar='FOLDER',
    help='where the data is, if it was moved',
  )
  add_settings(parser, changed)


def add_settings(
  parser: argparse.ArgumentParser, changed: Sequence[str]
) -> None:
  """Adds a flag for every setting that may change; see `add_options`."""
  group = parser.add_argument_group('settings that may differ from training')
  for name in changed:
    group.add_argument(
      f'--config.{name}',
      dest=name,
      type=arguments.setting(name),
      metavar='VALUE',
      help=f'{settings.ALL[name].kind}. '
      f'{settings.ALL[name].meaning} (Default: as trained)',
    )


def settings_of(
  args: argparse.Namespace,
  loaded: checkpoints.Loaded,
  changed: Sequence[str],
  *,
  needs_data: bool = True,
  fixed: Mapping[str, Any] = MappingProxyType({}),
) -> settings.Settings:
  """Returns the settings of training, changed by the flags of `add_options`.

  Regions are not cached: the commands read an image once, or a few images.

  Args:
    args: the flags.
    loaded: the checkpoint.
    changed: names of the settings that may differ.
    needs_data: whether the data has to be there.
    fixed: other settings, whatever training had.
  Raises:
    UserError: if the data's folder is missing, or the checkpoint has no
      settings.
  """
  given = {name: getattr(args, name) for name in changed}
  given = {name: value for name, value in given.items() if value is not None}
  given |= fixed
  if args.data_root is not None:
    given['data.root'] = args.data_root
  given['data.cache_regions'] = False
  config = loading.overridden(checkpoints.settings_of(loaded), given)
  root = config.data.root
  has_folder = config.data.source in ('prepared', 'uniter_lmdb', 'auto')
  if needs_data and has_folder and root and not Path(root).is_dir():
    raise errors.UserError(
      f'data.root = {root} is not a folder; pass --data-root FOLDER, where '
      'the data is now'
    )
  return config
