"""The user's data, opened with the release's readers and checked."""

import argparse
import copy
import json
import os
from typing import Any, Dict, NamedTuple

import torch

from recorder import weights
from recorder.problems import Problem
from recorder.release import Release

# `text` has all captions, `short` those of at most --max-txt-len tokens: the
# release trains on the latter and evaluates on the former.
Databases = NamedTuple(
  'Databases',
  [('text', Any), ('short', Any), ('images', Any), ('meta', Dict[str, Any])],
)

_PHRASES = ('node', 'attribute', 'relation')


def open_databases(release: Release, options: argparse.Namespace) -> Databases:
  """Returns both folders, opened.

  Raises:
    Problem: if they cannot be read or do not match.
  """
  try:
    text = release.data.TxtTokLmdb(options.txt_db, -1)
    images = release.data.DetectFeatLmdb(
      options.img_db,
      options.conf_th,
      options.max_bb,
      options.min_bb,
      options.num_bb,
      options.compressed_db,
    )
  except (release.data.lmdb.Error, OSError, ValueError, KeyError) as error:
    raise Problem(
      '--txt-db {} and --img-db {}: the release cannot read them '
      '({}: {}); if the folder is read-only, copy it'.format(
        options.txt_db, options.img_db, type(error).__name__, error
      )
    ) from error
  # LMDB refuses to open a folder twice in a process, so this is a copy.
  short = copy.copy(text)
  short.id2len = {
    key: length
    for key, length in text.id2len.items()
    if length <= options.max_txt_len
  }
  with open(
    os.path.join(options.txt_db, 'meta.json'), encoding='utf-8'
  ) as file:
    meta = json.load(file)
  # Without an nbb JSON file, every name is in name2nbb.
  missing = [
    name
    for name in text.img2txts
    if images.txn.get(name.encode('utf-8')) is None
    or options.conf_th != -1
    and name not in images.name2nbb
  ]
  if missing:
    raise Problem(
      '--img-db {}: {} images of --txt-db are missing, the first: {}'.format(
        options.img_db, len(missing), missing[0]
      )
    )
  return Databases(text, short, images, meta)


def check(
  databases: Databases,
  options: argparse.Namespace,
  state: Dict[str, torch.Tensor],
  config: Dict[str, Any],
) -> None:
  """Raises Problem if data, weights and counts do not match.

  Args:
    databases: from `open_databases`.
    options: the command line.
    state: the checkpoint.
    config: sizes of the network.
  """
  text = databases.text
  images, captions = text.img2txts, databases.short.id2len
  for caption in options.captions:
    check_caption(databases, caption, options)
  size, first = weights.feature_size(state), next(iter(images))
  found = databases.images[first][0].shape[1]
  if found != size:
    raise Problem(
      '--img-db {}: features have {} numbers, the weights in {} '
      'expect {}'.format(options.img_db, found, options.checkpoint, size)
    )
  if text.v_range[1] > config['vocab_size']:
    raise Problem(
      '--txt-db {}: its tokens go up to {}, --model-config has a '
      'vocab_size of {}'.format(
        options.txt_db, text.v_range[1] - 1, config['vocab_size']
      )
    )
  longest = max(text.id2len.values()) + 2
  if longest > config.get('max_position_embeddings', 512):
    raise Problem(
      '--txt-db {}: a caption has {} tokens with [CLS] and [SEP], '
      '--model-config has max_position_embeddings {}'.format(
        options.txt_db, longest, config.get('max_position_embeddings', 512)
      )
    )
  # The release draws until no caption of the image is among the negatives,
  # which may take forever if it draws nearly all captions.
  most = min(len(images), len(captions)) * 3 // 4
  if options.negative_size > most:
    raise Problem(
      '--negative-size must be at most {} (three quarters of {} images, or '
      'of {} captions within --max-txt-len), got {}'.format(
        most, len(images), len(captions), options.negative_size
      )
    )


def check_caption(
  databases: Databases, caption: str, options: argparse.Namespace
) -> None:
  """Raises Problem if the release cannot make a batch for a caption."""
  if caption not in databases.short.id2len:
    length = databases.text.id2len.get(caption)
    raise Problem(
      '--captions {}: {}'.format(
        caption,
        'no such id in {}'.format(options.txt_db)
        if length is None
        else 'it has {} tokens, --max-txt-len is {}'.format(
          length, options.max_txt_len
        ),
      )
    )
  tree = databases.text[caption].get('tree')
  lacking = [
    name
    for name in _PHRASES
    if not isinstance(tree, dict) or not isinstance(tree.get(name), list)
  ]
  if lacking:
    raise Problem(
      '--txt-db {}: caption {} has no list tree.{}, which the '
      'release needs for its masking (the lists may be empty)'.format(
        options.txt_db, caption, lacking[0]
      )
    )
