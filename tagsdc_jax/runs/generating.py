"""Writes the file of negatives of a split's captions.

Captions are done in shards of 256, whichever process does them and in whatever
order; a stopped run goes on with those that are missing, and the file is the
same.
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from tagsdc_jax import files, settings
from tagsdc_jax.data import opening
from tagsdc_jax.evaluation import score_cache
from tagsdc_jax.negative_files import card as cards
from tagsdc_jax.negative_files import records
from tagsdc_jax.runs import negatives_folder, negatives_maker
from tagsdc_jax.runtime import distributed, hashing, progress
from tagsdc_jax.training import checkpoints

# Settings of negatives that no sentence depends on, and values that fit any
# number of candidates.
OF_TRAINING: Mapping[str, Any] = {
  'negatives.num_hard': 1,
  'negatives.num_hard_by_source': (),
  'negatives.num_in_batch': 1,
  'negatives.pool_size': 1,
}
_SHARD = 256
# Pairs that are read without the picture, which takes a pass per word.
_BLIND = 1000

Say = Callable[[str], Any]


def find_photos(config: settings.Data, split: str) -> tuple[list[str], str]:
  """Returns the path of each picture of a split, and the folder of photos.

  Paths are empty where unknown: only prepared data has any.

  Raises:
    UserError: if the data set is damaged.
  """
  from tagsdc_jax.data.prepared import dataset as prepared

  if opening.resolved_source(config) != 'prepared':
    return [], ''
  report = prepared.read_metadata(config.root).get('report') or {}
  pictures = prepared.iterate_pictures(config.root, split)
  return [picture.path for picture in pictures], report.get('photos') or ''


def generate(out: Path, request: negatives_maker.Request, say: Say) -> Path:
  """Writes the negatives of all captions; returns the file's path.

  Args:
    out: a new folder, or one to continue. All processes share it.
    request: what to generate.
    say: called with lines on what is done.
  Raises:
    UserError: if the folder holds something else, the data does not fit the
      network, or the file system refuses.
  """
  path = out / negatives_folder.NEGATIVES
  facts = _facts(request)
  with negatives_folder.held(out, facts):
    if path.is_file():
      if distributed.is_first():
        say(f'{path} is complete already')
      return path
    _write(out, request, facts, say)
  return path


def _write(
  out: Path, request: negatives_maker.Request, facts: dict[str, Any], say: Say
) -> None:
  data = request.data
  numbers = range(len(data.captions))
  shards = [numbers[i : i + _SHARD] for i in range(0, len(numbers), _SHARD)]
  missing = [
    (place, own)
    for place, own in enumerate(shards)
    if not negatives_folder.part(out, place).is_file()
  ]
  # By number: another process may have written some before this one looked.
  own = [
    (place, numbers)
    for place, numbers in missing
    if place % jax.process_count() == jax.process_index()
  ]
  if len(missing) < len(shards) and distributed.is_first():
    left = sum(len(x) for _, x in missing)
    say(
      f'continuing: {len(data.captions) - left:,} of {len(data.captions):,} '
      'captions are done'
    )
  maker = negatives_maker.Maker(out, request)
  count = sum(len(x) for _, x in own)
  with progress.progress_bar(
    count, 'generating negatives', 'captions', is_shown=distributed.is_first()
  ) as bar:
    for place, part in own:
      made = maker.make(part, bar.update)
      lines = b''.join(map(records.to_line, made))
      files.write_bytes(negatives_folder.part(out, place), lines)
  # All processes have written their shards once this is known.
  distributed.total(0)
  distributed.on_first(lambda: _finish(out, maker, facts, len(shards)))


def _finish(
  out: Path,
  maker: negatives_maker.Maker,
  facts: dict[str, Any],
  num_shards: int,
) -> None:
  """Joins the shards, with a header that counts them."""
  card = cards.Card()
  with progress.progress_bar(
    facts['data']['captions'], 'counting negatives', 'captions'
  ) as bar:
    for place in range(num_shards):
      with open(negatives_folder.part(out, place), 'rb') as file:
        for line in file:
          card.add(records.from_line(line))
          bar.update(1)
  blind = None
  if sample := card.sample(_BLIND):
    with progress.waiting('reading negatives without their pictures'):
      blind = maker.read_blind(sample)
  counted = card.finish(blind, _BLIND)
  header = {
    **facts,
    'calibration': negatives_folder.read_calibration(out),
    'counts': {
      **{x: counted[x] for x in ('captions', 'negatives', 'without')},
      'kinds': {kind: one['count'] for kind, one in counted['kinds'].items()},
      'dropped': counted['dropped'],
    },
    'card': counted,
  }

  def join(target: Any) -> None:
    target.write(records.header_line(header))
    for place in range(num_shards):
      with open(negatives_folder.part(out, place), 'rb') as file:
        shutil.copyfileobj(file, target)

  files.write_whole(out / negatives_folder.NEGATIVES, join)
  shutil.rmtree(out / negatives_folder.PARTS, ignore_errors=True)


def _facts(request: negatives_maker.Request) -> dict[str, Any]:
  """Returns what decides the bytes that are written; a part of the header."""
  flat = settings.flatten(request.config)
  chosen = dataclasses.asdict(request.limits)
  del chosen['min_fluency']
  data = request.data
  name, _, split = data.name.rpartition('/')
  return {
    'model': _about(request.matcher),
    'judge': request.judge and _about(request.judge),
    'start': request.start and _about(request.start),
    'data': {
      'name': name,
      'split': split,
      'captions': len(data.captions),
      'pictures': len(data.image_ids),
      'photos': request.photos,
      'hash': score_cache.split_sha256(data),
    },
    'settings': {
      'sources': [one.name for one in request.sources],
      **chosen,
      'fluency': request.fluency,
      'seed': request.config.seed,
      **{
        key: value
        for key, value in flat.items()
        if key.startswith('negatives.')
        and key != 'negatives.sources'
        and key not in OF_TRAINING
      },
      'compute.dtype': flat['compute.dtype'],
      'compute.matmul_precision': flat['compute.matmul_precision'],
    },
  }


def _about(loaded: checkpoints.Loaded) -> dict[str, Any]:
  return {
    'hash': hashing.parameters_sha256(loaded.parameters),
    'phase': loaded.about['phase'],
    'update': loaded.about['update'],
  }
