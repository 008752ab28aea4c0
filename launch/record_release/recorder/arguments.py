"""The command line: options, their defaults (the release's), and checks."""

import argparse
import os
from typing import Sequence, Tuple

from recorder.problems import Problem

_EXAMPLE = """
example, in the folder of a checkout of the release:
  python TAGSDC_JAX/launch/record_release --release . --stage 2 \\
      --model-config config/uniter-base.json --checkpoint ckpt/best.pt \\
      --txt-db txt_db/itm_flickr30k_val.db --img-db img_db/flickr30k \\
      --out recordings
  tagsdc compare recordings     # where tagsdc_jax is installed

The checkpoint is a state dict as the release saves it, or pretrained UNITER:
heads that it lacks are set as the release sets them before its training. No
GPU is needed or used. Base UNITER with features of 256 numbers and
--negative-size 199 took 11 minutes of CPU time, 2.5 GB of memory and 1.2 GB on
disk; features of 2048 numbers and the defaults take more. --negative-size,
--mlm-samples and --eval-captions are what costs most.
"""


def parse(words: Sequence[str]) -> argparse.Namespace:
  """Returns the options.

  Args:
    words: the command line, without the program's name.
  Raises:
    Problem: if a value is out of range or a path is not as expected.
  """
  options = _parser().parse_args(words)
  options.release = os.path.abspath(options.release)
  _check_paths(options)
  _check_counts(options)
  return options


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='record_release',
    epilog=_EXAMPLE,
    description='Records what the PyTorch release of TAGS-DC computes with\n'
    'your weights and data, every random choice included.',
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    '--release',
    required=True,
    metavar='DIR',
    help='checkout of the release (github LibertFan/TAGS)',
  )
  add(
    '--model-config',
    required=True,
    metavar='FILE',
    help='sizes of the network, JSON (config/uniter-base.json)',
  )
  add(
    '--checkpoint',
    required=True,
    metavar='FILE',
    help='.pt file of stage 1, stage 2 or pretrained UNITER',
  )
  add(
    '--stage',
    type=int,
    required=True,
    choices=(1, 2),
    help='stage whose code to run: 1 is TAGS, 2 is DC',
  )
  add('--txt-db', required=True, metavar='DIR', help='text LMDB folder')
  add(
    '--img-db',
    required=True,
    metavar='DIR',
    help='folder with feat_... and nbb_...json',
  )
  add('--out', required=True, metavar='DIR', help='new folder to write')
  add('--seed', type=int, default=1, help='of all draws (default 1)')

  choice = parser.add_argument_group('what is recorded')
  add = choice.add_argument
  add(
    '--captions',
    nargs='+',
    default=[],
    metavar='ID',
    help='ids of the captions, one batch each',
  )
  add(
    '--batches',
    type=int,
    default=1,
    metavar='N',
    help='without --captions: number of captions to draw (default 1). '
    'Several batches are written to OUT/batch_1, OUT/batch_2, ...',
  )
  add(
    '--forward-rows',
    type=int,
    default=6,
    metavar='N',
    help='captions in the plain forward pass (default 6)',
  )
  add(
    '--eval-images',
    type=int,
    default=12,
    metavar='N',
    help='evaluate on the first N images; at least 10, because the release '
    'ranks ten; 0 means no evaluation (default 12)',
  )
  add(
    '--eval-captions',
    type=int,
    default=60,
    metavar='N',
    help='evaluate on N of their captions; at least 10 (default 60)',
  )
  add(
    '--eval-minibatch',
    type=int,
    default=400,
    metavar='N',
    help='images scored at once (default 400)',
  )

  counts = parser.add_argument_group("the release's options of these names")
  add = counts.add_argument
  add(
    '--negative-size',
    type=int,
    default=399,
    metavar='N',
    help='retrieved negatives of each kind (default 399)',
  )
  add(
    '--hard-size',
    type=int,
    default=31,
    metavar='N',
    help='selected negatives of each kind (default 31)',
  )
  add(
    '--mlm-samples',
    type=int,
    default=20,
    metavar='N',
    help='masked copies per caption (default 20)',
  )
  add(
    '--nsgd-samples',
    type=int,
    default=20,
    metavar='N',
    help='refills per masked copy (default 20)',
  )
  add(
    '--temperature',
    type=float,
    default=1.5,
    help='temperature of refilling (default 1.5)',
  )
  add('--margin', type=float, default=0.2, help='(default 0.2)')
  add(
    '--max-txt-len',
    type=int,
    default=60,
    metavar='N',
    help='longest caption in batches, in tokens (default 60)',
  )
  add(
    '--conf-th',
    type=float,
    default=0.2,
    help='-1 means a fixed number of boxes (default 0.2)',
  )
  add('--max-bb', type=int, default=100, metavar='N', help='(default 100)')
  add('--min-bb', type=int, default=10, metavar='N', help='(default 10)')
  add('--num-bb', type=int, default=36, metavar='N', help='(default 36)')
  add(
    '--compressed-db',
    action='store_true',
    help='the image folder is the one named ..._compressed',
  )
  return parser


def image_names(options: argparse.Namespace) -> Tuple[str, str]:
  """Returns (folder of the features, nbb json or ''), both inside --img-db."""
  if options.conf_th == -1:
    folder, nbb = 'feat_numbb{}'.format(options.num_bb), ''
  else:
    rule = 'th{}_max{}_min{}'.format(
      options.conf_th, options.max_bb, options.min_bb
    )
    folder, nbb = 'feat_' + rule, 'nbb_{}.json'.format(rule)
  return folder + ('_compressed' if options.compressed_db else ''), nbb


def _check_paths(options: argparse.Namespace) -> None:
  release = options.release
  for name in (
    'model/nsgd.py',
    'model/nsgd2.py',
    'data/pnsgd.py',
    'utils/itm_eval.py',
  ):
    if not os.path.isfile(os.path.join(release, name)):
      raise Problem(
        '--release {}: it does not contain {}; pass a checkout of '
        'https://github.com/LibertFan/TAGS'.format(release, name)
      )
  for option in ('model_config', 'checkpoint'):
    path = getattr(options, option)
    if not os.path.isfile(path):
      raise Problem(
        '--{} {}: no such file'.format(option.replace('_', '-'), path)
      )
  for name in (
    'data.mdb',
    'meta.json',
    'id2len.json',
    'txt2img.json',
    'img2txts.json',
  ):
    if not os.path.isfile(os.path.join(options.txt_db, name)):
      raise Problem(
        '--txt-db {}: it does not contain {}; pass the folder written by the '
        "release's prepro.py".format(options.txt_db, name)
      )
  folder, nbb = image_names(options)
  for name in [os.path.join(folder, 'data.mdb')] + ([nbb] if nbb else []):
    if not os.path.isfile(os.path.join(options.img_db, name)):
      raise Problem(
        '--img-db {}: it does not contain {}; pass its parent folder, and the '
        '--conf-th, --max-bb, --min-bb, --num-bb and --compressed-db that it '
        'was written with'.format(options.img_db, name)
      )
  if os.path.isfile(options.out) or (
    os.path.isdir(options.out) and os.listdir(options.out)
  ):
    raise Problem(
      '--out {}: exists and is not empty; pass a new folder'.format(options.out)
    )


def _check_counts(options: argparse.Namespace) -> None:
  for name in (
    'batches',
    'forward_rows',
    'eval_minibatch',
    'negative_size',
    'hard_size',
    'mlm_samples',
    'nsgd_samples',
    'max_txt_len',
  ):
    _at_least(options, name, 1)
  for name in ('eval_images', 'eval_captions'):
    if name == 'eval_captions' or options.eval_images:
      _at_least(options, name, 10)
  if not options.temperature > 0:
    raise Problem(
      '--temperature must be above 0, got {}'.format(options.temperature)
    )
  made = options.mlm_samples * options.nsgd_samples
  # Otherwise there would be nothing to select.
  if options.hard_size >= min(made, options.negative_size):
    raise Problem(
      '--hard-size must be less than --negative-size ({}) and --mlm-samples '
      'x --nsgd-samples ({}), got {}'.format(
        options.negative_size, made, options.hard_size
      )
    )
  if len(set(options.captions)) < len(options.captions):
    raise Problem('--captions: an id occurs twice; pass each id once')


def _at_least(options: argparse.Namespace, name: str, least: int) -> None:
  value = getattr(options, name)
  if value < least:
    raise Problem(
      '--{} must be at least {}, got {}'.format(
        name.replace('_', '-'), least, value
      )
    )
