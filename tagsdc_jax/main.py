"""`tagsdc <command>`: parses flags, loads the config, runs the command."""

import argparse
import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from absl import logging

# Before jax or TFDS are imported: their start-up messages are not for users.
# Errors that Orbax logs are also raised, and become one line.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TRANSFORMERS_VERBOSITY', 'error')
os.environ.setdefault('HF_HUB_VERBOSITY', 'error')
logging.set_verbosity(logging.FATAL)
# Orbax leaves coroutines behind after a failed save.
warnings.filterwarnings('ignore', 'coroutine .* was never awaited')

from tagsdc_jax import environment  # noqa: E402

environment.open_streams()
environment.import_jax('tagsdc')

import jax  # noqa: E402

from tagsdc_jax import __version__, arguments, errors, paths, settings  # noqa: E402
from tagsdc_jax.commands import (  # noqa: E402
  check,
  compare,
  configs,
  convert,
  demo,
  evaluate,
  export,
  foils,
  generate,
  list_settings,
  prepare,
  report,
  study,
  train,
)
from tagsdc_jax.runtime import distributed, preemption  # noqa: E402

COMMANDS = {
  'demo': demo,
  'prepare': prepare,
  'train': train,
  'evaluate': evaluate,
  'foils': foils,
  'generate': generate,
  'export': export,
  'check': check,
  'compare': compare,
  'convert': convert,
  'report': report,
  'study': study,
  'settings': list_settings,
}
# Commands that resume where they were, so that being stopped is no failure.
_CONTINUED = ('study', 'demo', 'prepare', 'train', 'evaluate', 'generate')


def make_parser() -> argparse.ArgumentParser:
  """Returns the parser of all commands."""
  parser = arguments.Parser(
    prog='tagsdc',
    description='Image-text matching with tailored negatives (TAGS-DC) in JAX.',
    epilog='Begin with: tagsdc demo',
  )
  parser.add_argument('--version', action='version', version=__version__)
  commands = parser.add_subparsers(dest='command', metavar='COMMAND')
  for name, module in COMMANDS.items():
    command = commands.add_parser(
      name,
      help=module.HELP,
      description=module.HELP,
      epilog=module.EXAMPLES,
      allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if module.NEEDS_CONFIG:
      configs.add_option(command, is_required=True)
    module.add_arguments(command)
  return parser


def main(words: Sequence[str] | None = None) -> int:
  """Runs a command; returns the exit code."""
  sys.excepthook = _show_uncaught
  if isinstance(sys.stdout, io.TextIOWrapper):
    # Characters that the terminal's encoding lacks must not cause a failure.
    sys.stdout.reconfigure(errors='backslashreplace')
  parser = make_parser()
  args, rest = parser.parse_known_args(words)
  if args.command is None and not rest:
    parser.print_help()
    return 0
  is_asked = is_interrupted = False
  try:
    code = _listen(args, rest)
  except errors.Stopped as stop:
    is_asked = is_interrupted = True
    code = _say(args, str(stop), stop.code)
  except KeyboardInterrupt:
    is_interrupted = True
    code = _say(
      args, 'interrupted; run the same command again to continue', 130
    )
  except MemoryError as error:
    code = _say(
      args, f'out of memory ({error}); close other programs, or use less data'
    )
  except Exception as error:
    code = _fail(args, error)
  if words is not None:
    return distributed.leave(code, is_asked)
  preemption.ignore()  # The process does nothing else.
  code = distributed.leave(code, is_asked)
  if is_interrupted:
    preemption.end(code)
  return code


def _listen(args: argparse.Namespace, rest: list[str]) -> int:
  code, again = preemption.exit_code(), 'run the same command again'
  notice = preemption.Notice(
    settings.Settings().stop_seconds,
    *(
      (f'{again} to continue', code) if args.command in _CONTINUED else (again,)
    ),
  )
  with notice.listening():
    environment.settle()
    return _run(args, rest)


def _fail(args: argparse.Namespace, error: Exception) -> int:
  line = _explain(error)
  if line is not None:
    return _say(args, line)
  if distributed.is_left_alone(error):
    return _say(
      args,
      'another process of the run has ended or hangs; see its '
      f'output ({error}). The last saved state is intact: run the '
      'same command again to continue',
      distributed.LEFT_ALONE,
    )
  if not jax.distributed.is_initialized():
    raise error
  traceback.print_exception(error)
  return 1


def _run(args: argparse.Namespace, rest: list[str]) -> int:
  module = COMMANDS.get(args.command)
  # For some commands the config is optional.
  name, family = (getattr(args, key, None) for key in ('config', 'phases'))
  takes_config = name is not None or family is not None
  overrides = [
    word for word in rest if takes_config and word.startswith('--config.')
  ]
  unknown = [word for word in rest if word not in overrides]
  # Argparse takes a list of positional words in one piece only.
  more = getattr(module, 'LISTED', None)
  if more is not None:
    getattr(args, more).extend(
      paths.expanded(word) for word in unknown if not word.startswith('-')
    )
    unknown = [word for word in unknown if word.startswith('-')]
  config: Any = None
  if name is not None:
    config = configs.load(name, overrides)
  elif family is not None:
    config = configs.load_phases(family, overrides)
  if unknown or module is None:
    raise errors.UserError(
      f'unknown arguments: {" ".join(unknown)}; see --help'
    )
  # Only a verdict is a number; failures are raised.
  return module.run(args, config) or 0


def _show_uncaught(
  kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
  # Raised in TensorStore's threads after a failed write, which Orbax raises.
  if str(error) != 'Event loop is closed':
    sys.__excepthook__(kind, error, trace)


def _explain(error: Exception) -> str | None:
  """Returns the error as a line for the user, None for a bug."""
  if isinstance(error, errors.UserError):
    return str(error)
  if isinstance(error, Warning):
    return (
      'PYTHONWARNINGS or -W turns warnings into errors, such as '
      f'{error}; unset it'
    )
  reason = errors.refusal(error)
  name = getattr(error, 'filename', None) or 'standard output or a file'
  return reason and f'{name}: {reason}'


def _say(args: argparse.Namespace, line: str, code: int = 2) -> int:
  line = ' '.join(line.split())
  with contextlib.suppress(OSError):  # The reader may be gone.
    print(
      f'tagsdc {args.command or ""}'.strip() + f': {line}',
      file=sys.stderr,
      flush=True,
    )
  return code


if __name__ == '__main__':
  sys.exit(main())
