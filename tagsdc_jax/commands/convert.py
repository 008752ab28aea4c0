"""`tagsdc convert`: the release's or BERT's weights to ours, and back."""

import argparse
import functools
from pathlib import Path

from tagsdc_jax import arguments, environment, errors, settings, shipped
from tagsdc_jax.commands import configs
from tagsdc_jax.conversion import tying
from tagsdc_jax.runs import converting, converting_bert

HELP = 'convert weights of the PyTorch release or of BERT to our checkpoints'
EXAMPLES = """examples:
  tagsdc convert uniter-base.pt weights/uniter --model-config uniter-base.json
  tagsdc convert model_step_2000.pt weights/tags --num-heads 12 \\
      --config flickr30k_base_tags --config.data.root=DATA
  tagsdc train --config flickr30k_base_tags --run-dir runs/tags \\
      --config.init_from=weights/uniter
  tagsdc convert bert-base-cased weights/bert --start
  tagsdc convert runs/tags model_step_5000.pt
  tagsdc convert runs/tags/checkpoints/kept/2000 stage1.safetensors
A weight file (.pt, .pth, .bin, .safetensors) becomes a checkpoint in a new
folder: pretrained UNITER, stage 1 or stage 2, as its tensors' names indicate. A
run folder or a checkpoint becomes a file that the release's class for that
phase loads. Names, shapes and copies of tied weights must match exactly.
--start takes a BERT of any size, as UNITER itself began: a weight file, or a
folder of the Hugging Face Hub with config.json.
PyTorch files require PyTorch: pip install "tagsdc_jax[torch]".
"""
NEEDS_CONFIG = False
# Names the folders as docs/data.md does.
_DEFAULT_CONFIG = 'own_small_tags'
_HINTS = ('model_config', 'num_heads', 'tied', 'config')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's own flags."""
  parser.add_argument(
    'source',
    metavar='FROM',
    type=arguments.location,
    help='weight file, run folder or checkpoint; with --start, also the folder '
    'of a BERT',
  )
  parser.add_argument(
    'target',
    metavar='TO',
    type=arguments.path,
    help='new folder, or new weight file',
  )
  files = parser.add_argument_group('if FROM is a weight file')
  files.add_argument(
    '--start',
    action='store_true',
    help='FROM is a BERT: its text embeddings, encoder, pooler and language '
    'head become the start of a training run, which initializes the rest',
  )
  files.add_argument(
    '--model-config',
    type=arguments.path,
    metavar='JSON',
    help="the release's model config, or BERT's config.json; gives the number "
    'of attention heads, which the weights do not contain (default: the '
    'config.json beside a BERT)',
  )
  files.add_argument(
    '--num-heads',
    metavar='NUMBER',
    type=arguments.setting('model.num_heads'),
    help='number of attention heads, instead of --model-config '
    '(default: hidden size / 64)',
  )
  files.add_argument(
    '--tied',
    choices=list(tying.COPIES),
    help='which copy of the word embedding to use if those in the file differ '
    '(default: they must not)',
  )
  files.add_argument(
    '--config',
    metavar='NAME|FILE',
    help='config with the data and everything else that `tagsdc evaluate` '
    'needs and weights do not contain; override with --config.NAME=VALUE '
    f'(default: {_DEFAULT_CONFIG})',
  )


def run(args: argparse.Namespace, config: settings.Settings | None) -> None:
  """Converts, and prints what was done."""
  environment.open_devices()
  source = Path(args.source)
  if not (source.exists() or args.source.startswith(shipped.PREFIX)):
    raise errors.UserError(
      f'{source} is missing; pass a weight file, a run folder or a checkpoint'
    )
  hints = functools.partial(
    converting.Hints,
    model_config=args.model_config,
    num_heads=args.num_heads,
    tied=args.tied,
  )
  if args.start:
    lines = converting_bert.to_start(
      source, args.target, hints(_config(config))
    )
  elif source.is_file():
    lines = converting.to_checkpoint(
      source, args.target, hints(_config(config))
    )
  else:
    useless = [name for name in _HINTS if getattr(args, name) is not None]
    if useless:
      raise errors.UserError(
        f'--{useless[0].replace("_", "-")} applies only to weight files, but '
        f'{args.source} is not one; leave it out'
      )
    lines = converting.to_file(args.source, args.target)
  print('\n'.join(lines))


def _config(config: settings.Settings | None) -> settings.Settings:
  """Returns the given settings, or those that name the usual folders."""
  return config or configs.load(_DEFAULT_CONFIG, ())
