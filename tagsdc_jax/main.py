"""`tagsdc <command>`: picks the command, parses flags, loads the config."""

import argparse
import os
import sys
from collections.abc import Sequence

from absl import logging

# Before jax or TFDS are imported: their start-up notes are not for users.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
logging.set_verbosity(logging.ERROR)

from tagsdc_jax import __version__, errors  # noqa: E402
from tagsdc_jax.commands import (configs, demo, evaluate, prepare,  # noqa: E402
                                 train)

COMMANDS = {'demo': demo, 'prepare': prepare, 'train': train,
            'evaluate': evaluate}


def make_parser() -> argparse.ArgumentParser:
  """Returns the parser of all commands."""
  parser = argparse.ArgumentParser(
      prog='tagsdc', description='Image-text matching with tailored negatives '
      '(TAGS-DC) in JAX.', epilog='Begin with: tagsdc demo')
  parser.add_argument('--version', action='version', version=__version__)
  commands = parser.add_subparsers(dest='command', required=True,
                                   metavar='COMMAND')
  for name, module in COMMANDS.items():
    command = commands.add_parser(
        name, help=module.HELP, description=module.HELP,
        epilog=module.EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    if module.NEEDS_CONFIG:
      command.add_argument(
          '--config', required=True, metavar='NAME|FILE',
          help=f'one of {", ".join(configs.names())}, or a Python file with '
          'get_config(); override with --config.NAME=VALUE')
    module.add_arguments(command)
  return parser


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a command; returns the exit code."""
  parser = make_parser()
  args, rest = parser.parse_known_args(arguments)
  module = COMMANDS[args.command]
  overrides = [word for word in rest if word.startswith('--config.')]
  unknown = [word for word in rest if word not in overrides]
  if unknown or (overrides and not module.NEEDS_CONFIG):
    parser.error(f'unrecognized arguments: {" ".join(unknown or overrides)}')
  try:
    config = (configs.load(args.config, overrides) if module.NEEDS_CONFIG
              else None)
    module.run(args, config)
  except errors.UserError as error:
    print(f'tagsdc {args.command}: {error}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print(f'tagsdc {args.command}: interrupted; run the same command again '
          'to continue', file=sys.stderr)
    return 130
  return 0


if __name__ == '__main__':
  sys.exit(main())
