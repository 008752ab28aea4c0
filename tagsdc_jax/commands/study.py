"""`tagsdc study`: experiments as commands, with seeds and intervals."""

import argparse
from pathlib import Path

from tagsdc_jax import arguments, environment, errors, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.runtime import programs
from tagsdc_jax.settings import kinds
from tagsdc_jax.studies import built_in, running, study, summary
from tagsdc_jax.studies.measures import judges

HELP = 'run an experiment of the paper: trainings, table, intervals, page'
EXAMPLES = (
  """examples:
  tagsdc study ablation --out runs/studies --seeds 5
  tagsdc study ablation length_bias --out runs/mine --seeds 3 \\
      --phases own_small --config.data.root=data/mine
studies:
"""
  + arguments.described(
    {name: one.question for name, one in built_in.STUDIES.items()}
  )
  + """
Runs are kept in OUT/runs and shared between studies in the same folder. Run the
same command again to continue. --config.NAME=VALUE applies to all runs.
"""
)
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'names',
    nargs='+',
    choices=tuple(built_in.STUDIES),
    metavar='STUDY',
    help='one or more of the studies below',
  )
  parser.add_argument(
    '--out',
    type=arguments.folder,
    required=True,
    help='folder of the runs, and of a page per study',
  )
  parser.add_argument(
    '--seeds',
    type=arguments.of_kind(kinds.Whole(1, 1000)),
    default=3,
    help='trainings of every arm (default: %(default)s)',
  )
  parser.add_argument(
    '--phases',
    default='world',
    metavar='NAME|FILE',
    help=f'settings that the arms change: {", ".join(configs.families())}, or '
    'your own files, NAME_tags.py and NAME_dc.py; also NAME_pretrain.py, '
    'unless --config.init_from names the weights (default: %(default)s)',
  )
  parser.add_argument(
    '--part',
    type=arguments.part,
    default=(0, 1),
    metavar='I/N',
    help='do the I-th of N parts of the seeds, for several processes on one '
    'folder',
  )

  parser.add_argument(
    '--judge',
    type=arguments.folder,
    metavar='FOLDER',
    help='faithfulness: a causal language model and its tokenizer, as '
    'transformers saves them, instead of a trigram model of the training '
    'captions; needs tagsdc_jax[torch]',
  )


def run(args: argparse.Namespace, config: dict[str, settings.Settings]) -> None:
  """Runs studies and prints their tables."""
  environment.open_devices()
  # Runs differ in settings more than in programs.
  programs.keep(args.out.resolve() / 'programs')
  if any(one.seed for one in config.values()):
    raise errors.UserError(
      'seed is set by the study: --seeds N trains with seeds 0 to N - 1; leave '
      '--config.seed out'
    )
  if not running.own_seeds(args.seeds, args.part):
    place, count = args.part
    raise errors.UserError(
      f'--part {place + 1}/{count} has nothing to do: --seeds {args.seeds} can '
      f'be divided into at most {args.seeds} parts'
    )
  judge = str(args.judge or '')
  if judge:  # What is wrong with it is said before hours of training.
    judges.about(judge)
    judges.Causal(judge)
  runner = running.Runner(
    args.out.resolve(),
    study.Base(config),
    lambda line: print(line, flush=True),
    judge,
    _named(args.phases, config),
  )
  for path in summary.run(args.names, runner, args.seeds, args.part):
    print(path)


def _named(family: str, config: dict[str, settings.Settings]) -> str:
  """Returns the name of the settings, with what --config.NAME changed."""
  plain = configs.load_phases(family, [])
  changed = {
    f'{name}={value}'
    for phase, one in config.items()
    for name, value in settings.flatten(one).items()
    # The page names the data anyway, and paths are of this machine only.
    if not name.startswith('data.')
    and value != settings.flatten(plain[phase])[name]
  }
  return ' '.join([Path(family).name, *sorted(changed)])
