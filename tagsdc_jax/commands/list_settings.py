"""`tagsdc settings`: what can be set, and what a config or a run sets."""

import argparse
import difflib
from collections.abc import Sequence
from typing import Any

from tagsdc_jax import errors, paths, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.reporting import settings_tables
from tagsdc_jax.runs import folder
from tagsdc_jax.settings import kinds

HELP = 'show settings: meaning, range, default, and what a config or run sets'
EXAMPLES = """examples:
  tagsdc settings
  tagsdc settings losses
  tagsdc settings losses.margin
  tagsdc settings --search temperature
  tagsdc settings world_dc
  tagsdc settings world_dc losses --config.losses.margin=0.3
  tagsdc settings configs/world_dc.py --search learning rate
  tagsdc settings runs/tags
Names come before --search. `train` takes every setting as --config.NAME=VALUE.
"""
NEEDS_CONFIG = False


class _Sort(argparse.Action):
  """Sets `names` of settings, and `config` or `run_dir`, from mixed words."""

  def __call__(
    self,
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    words: str | Sequence[Any] | None,
    option: str | None = None,
  ) -> None:
    """Exits with a line if a word is none of these."""
    del option
    given = {}
    args.names = []
    for word in words or ():
      try:
        names, place = _find(word)
      except errors.UserError as error:
        parser.error(str(error))
      args.names += names
      if place:
        given[word] = place
    if len(given) > 1:
      parser.error(f'takes one config or run, got {" and ".join(given)}')
    for word, place in given.items():
      setattr(args, place, word)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'names',
    nargs='*',
    default=[],
    action=_Sort,
    metavar='NAME|FILE',
    help='settings or groups to show (all if none is given), and a config, its '
    'Python file or a run folder, whose values to show; values of a config '
    'can be overridden with --config.NAME=VALUE',
  )
  parser.add_argument(
    '--search',
    nargs='+',
    metavar='WORD',
    help='show only settings whose name, meaning or range contains all words',
  )
  parser.add_argument(
    '--markdown', action='store_true', help='print docs/settings.md'
  )
  parser.set_defaults(config=None, run_dir=None)


def run(args: argparse.Namespace, config: settings.Settings | None) -> None:
  """Prints the settings."""
  source = args.config or args.run_dir
  if args.markdown:
    if args.names or source or args.search is not None:
      raise errors.UserError(
        '--markdown prints the whole page; pass nothing else with it'
      )
    print(settings_tables.markdown(), end='')
    return
  names = [name for name in settings.ALL if name in args.names]
  names = names or list(settings.ALL)
  if args.search is not None:
    names = settings_tables.search(names, args.search)
  values = None
  if config is not None:
    values = settings.flatten(config)
  elif source:
    values = folder.settings_of(paths.local(source))
  settings_tables.print_settings(names, values, source or '')


def _find(word: str) -> tuple[list[str], str]:
  """Returns the settings that a word names, or which of `args` it is.

  Raises:
    UserError: if it is nothing that can be shown.
  """
  path, ours = paths.local(word), configs.names()
  names = settings_tables.named(word)
  with errors.named(path, 'read'):
    if path.suffix == '.py' or path.is_file() and not names or word in ours:
      return [], 'config'
    # A run folder may be called as a group is.
    is_folder = path.is_dir() and (not names or folder.holds_run(path))
  if '/' in word or is_folder:
    return [], 'run_dir'
  if names:
    return names, ''
  known = {part for name in settings.ALL for part in (name, *name.split('.'))}
  nearest = difflib.get_close_matches(word, sorted(known | set(ours)), 1, 0)
  raise errors.UserError(
    f'{kinds.shown(word)} is not a setting, group, config or run folder; '
    f'nearest: {nearest[0]}'
  )
