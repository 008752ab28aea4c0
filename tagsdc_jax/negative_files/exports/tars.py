"""Tar shards with the pictures: TripletCLIP's and those of webdataset."""

import dataclasses
import io
import itertools
import math
import re
import shlex
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tagsdc_jax import errors
from tagsdc_jax.negative_files.exports import encoding, neighbors, source

# TripletCLIP opens shard-0.tar to shard-750.tar, as far as they are there.
_MOST_SHARDS = 751
_TRIPLETS_PER_SHARD = 1000
# As img2dataset has it; a key has five digits of the shard, then four.
_SAMPLES_PER_SHARD = 10_000
# Suffixes that open_clip takes, and how such files begin.
_STARTS = {
  'jpg': re.compile(rb'\xff\xd8\xff'),
  'png': re.compile(rb'\x89PNG\r\n'),
  'webp': re.compile(rb'RIFF....WEBP', re.DOTALL),
}


def _write_triplets(given: source.Source, folder: Path) -> None:
  """Writes KEY.image, KEY.caption, KEY.neg_image and KEY.neg_caption."""
  number = 0

  def captions() -> Iterator[tuple[str, str]]:
    nonlocal number
    for row in given.rows('reading', False):
      number += len(row.negatives)
      yield row.picture, row.record.text

  near = neighbors.Neighbors(captions())

  def samples() -> Iterator[dict[str, bytes]]:
    for triplets in neighbors.batches(
      (place, row, negative)
      for place, row in enumerate(given.rows())
      for negative in row.negatives
    ):
      sentences = [(negative.text, place) for place, _, negative in triplets]
      found = near.nearest(sentences, 1)
      for (_, row, negative), (other,) in zip(triplets, found, strict=True):
        yield {
          'image': _picture(given, row.picture)[1],
          'caption': row.record.text.encode(),
          'neg_image': _picture(given, near.names[near.pictures[other]])[1],
          'neg_caption': negative.text.encode(),
        }

  per_shard = max(_TRIPLETS_PER_SHARD, math.ceil(number / _MOST_SHARDS))
  _write_shards(folder, samples(), per_shard, 'shard-{}.tar', '{0:04}{1:08}')


def _read_triplets(given: source.Source, out: Path) -> list[str]:
  del given
  return [
    'neg_image: the picture of the caption that is nearest to the negative (by '
    'words), which need not show what the negative says; the loss takes the '
    'two for a pair',
    f"read by TripletCLIP's main.py with --train --data_dir "
    f'{shlex.quote(str(out))}',
  ]


def _write_samples(given: source.Source, folder: Path) -> None:
  """Writes KEY.jpg (or png, webp), KEY.txt and KEY.json."""

  def samples() -> Iterator[dict[str, bytes]]:
    for row in given.rows():
      suffix, content = _picture(given, row.picture)
      about = {
        'caption': row.record.text,
        'caption_id': row.record.caption_id,
        'image_id': row.record.image_id,
        'score': row.record.score,
        'negatives': [negative.text for negative in row.negatives],
        'scores': [negative.score for negative in row.negatives],
        'kinds': [negative.kind for negative in row.negatives],
        'edits': [
          [dataclasses.asdict(edit) for edit in negative.edits]
          for negative in row.negatives
        ],
      }
      yield {
        suffix: content,
        'txt': row.record.text.encode(),
        'json': encoding.to_json(about).encode(),
      }

  _write_shards(
    folder, samples(), _SAMPLES_PER_SHARD, '{:05}.tar', '{0:05}{1:04}'
  )


def _read_samples(given: source.Source, out: Path) -> list[str]:
  last = (given.num_captions - 1) // _SAMPLES_PER_SHARD
  shards = f'{out}/{{00000..{last:05}}}.tar' if last else f'{out}/00000.tar'
  return [
    f'read by open_clip with --dataset-type webdataset --train-data '
    f'{shlex.quote(shards)} --train-num-samples {given.num_captions}, which '
    'takes the captions; the negatives are in KEY.json'
  ]


def _write_shards(
  folder: Path,
  samples: Iterable[Mapping[str, bytes]],
  per_shard: int,
  name: str,
  key: str,
) -> None:
  """Writes samples to tar files whose bytes depend on the samples only.

  Args:
    folder: exists.
    samples: {suffix: content} of each.
    per_shard: samples in each tar file but the last.
    name: format of a tar file's name, given its number.
    key: format of a key, given the numbers of the tar file and of the sample
      within it.
  """
  groups = itertools.groupby(
    enumerate(samples), lambda one: one[0] // per_shard
  )
  for shard, numbered in groups:
    with tarfile.open(
      folder / name.format(shard), 'w', format=tarfile.USTAR_FORMAT
    ) as tar:
      for number, sample in numbered:
        place = key.format(shard, number % per_shard)
        for suffix, content in sample.items():
          member = tarfile.TarInfo(f'{place}.{suffix}')
          member.size = len(content)
          tar.addfile(member, io.BytesIO(content))


def _picture(given: source.Source, name: str) -> tuple[str, bytes]:
  """Returns the usual suffix of a picture's format, and its file's content.

  Raises:
    UserError: if it cannot be read, or is no JPEG, PNG or WebP file.
  """
  path = Path(given.path(name))
  with errors.named(path, 'read', 'folder of pictures'):
    content = path.read_bytes()
  for suffix, start in _STARTS.items():
    if start.match(content):
      return suffix, content
  raise errors.UserError(
    f'{path} must be a JPEG, PNG or WebP file, but begins with '
    f'{content[:12]!r}; convert it, or export another format'
  )


TRIPLETCLIP = source.Format(
  consumer='TripletCLIP',
  content='a folder of tar files: image, caption, neg_image, neg_caption',
  lost='scores, edits and all else but the texts; each picture stands once per '
  'caption and negative',
  write=_write_triplets,
  hints=_read_triplets,
  is_folder=True,
  opens_pictures=True,
  number=1,
)
WEBDATASET = source.Format(
  consumer='webdataset (open_clip, img2dataset)',
  content='a folder of tar files: jpg, txt, and json with negatives, scores '
  'and edits',
  lost='words, corrections and probabilities; a picture stands once per '
  'caption',
  write=_write_samples,
  hints=_read_samples,
  is_folder=True,
  opens_pictures=True,
  keeps_bare=True,
)
