"""Reads caption files of any known format, and joins them."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.preparing import listing
from tagsdc_jax.preparing.captions import json_files, tables

# Pictures per split as published: train with restval, validation, test.
PUBLISHED: dict[str, tuple[int, ...]] = {
  'flickr8k': (6000, 1000, 1000),
  'flickr30k': (29000, 1014, 1000),
  'coco': (113287, 5000, 5000),
}
_RESTVAL = 30504  # Of COCO's training pictures.
_SUFFIXES: dict[str, Callable[[Path], listing.Listing]] = {
  '.json': json_files.read,
  '.jsonl': tables.read_json_lines,
  '.csv': tables.read_csv,
  '.tsv': tables.read_csv,
}


def read(path: Path, split: str = '') -> listing.Listing:
  """Returns the pictures of one caption file or precomp folder.

  Args:
    path: its format is found by its suffix and content.
    split: of all its pictures; empty: as the file says.
  Raises:
    UserError: if it is missing, of no known format, or malformed, or if it
      has splits of its own and one is given.
  """
  found = _read(path)
  if not split:
    return found
  own = next((p.split for p in found.pictures if p.split), '')
  if own:
    raise errors.UserError(
      f'{path} says itself which pictures are {own}; leave out {split}='
    )
  return dataclasses.replace(
    found,
    pictures=[dataclasses.replace(p, split=split) for p in found.pictures],
  )


def _read(path: Path) -> listing.Listing:
  if path.is_dir():
    if not any(path.glob('*_caps.txt')):
      raise errors.UserError(
        f'{path}: a folder of captions must be a precomp folder with '
        'train_caps.txt and the like; pass a caption file'
      )
    return tables.read_precomp(path)
  if not path.is_file():
    raise errors.UserError(f'{path} is missing; pass a caption file')
  reader = _SUFFIXES.get(path.suffix.lower())
  if reader is None:
    reader = tables.read_tokens if tables.is_tokens(path) else tables.read_csv
  return reader(path)


def join(
  listings: Sequence[listing.Listing], with_restval: bool
) -> dict[str, list[listing.Picture]]:
  """Returns the pictures of several files by split; "" where a file has none.

  Args:
    listings: of the files.
    with_restval: whether COCO's restval becomes part of train, or is left out.
  Raises:
    UserError: if two files contain the same picture or caption id.
  """
  splits: dict[str, list[listing.Picture]] = {}
  seen: dict[str, str] = {}
  captions: dict[str, str] = {}
  for part in listings:
    for picture in part.pictures:
      for known, key, what in (
        (seen, picture.image_id, 'image'),
        *((captions, s.caption_id, 'caption') for s in picture.sentences),
      ):
        if known.setdefault(key, part.path) != part.path:
          raise errors.UserError(
            f'{what} {key} is in {known[key]} and in {part.path}; '
            'each must be in one file'
          )
      split = picture.split
      if split == 'restval':
        if not with_restval:
          continue
        split = 'train'
      splits.setdefault(split, []).append(picture)
  return splits


def assign(
  splits: dict[str, list[listing.Picture]],
  validation: float,
  test: float,
  seed: int,
) -> dict[str, list[listing.Picture]]:
  """Returns train, validation and test; draws those that no file names.

  They are drawn by picture from those without a split, or else from train.

  Args:
    splits: from `join`.
    validation, test: number of pictures to draw, or their share if below 1.
    seed: of the draw.
  Raises:
    UserError: if too few pictures are left.
  """
  without = splits.pop('', [])
  if without and 'train' in splits:
    raise errors.UserError(
      f'{len(without)} pictures have no split, the first is '
      f'{without[0].image_id}, and {len(splits["train"])} are in train; give '
      'all pictures a split, or none'
    )
  pool = without or splits.get('train', [])
  order = np.random.default_rng(seed).permutation(len(pool))
  drawn: dict[int, str] = {}
  for name, wanted in (('validation', validation), ('test', test)):
    if name in splits:
      continue
    count = int(wanted) if wanted >= 1 else round(wanted * len(pool))
    if count < 1 or len(drawn) + count >= len(pool):
      raise errors.UserError(
        f'{name} must get at least one of the {len(pool)} pictures and leave '
        f'some for training, got {wanted:g}; pass another --{name}'
      )
    for place in order[len(drawn) : len(drawn) + count]:
      drawn[int(place)] = name
  found = dict(splits) | {'train': []}
  for place, picture in enumerate(pool):
    found.setdefault(drawn.get(place, 'train'), []).append(picture)
  return {name: found[name] for name in listing.SPLITS}


def published(dataset: str, with_restval: bool) -> tuple[int, ...]:
  """Returns the published pictures per split; empty if there is no number."""
  counts = PUBLISHED.get(dataset, ())
  if dataset == 'coco' and not with_restval:
    return (counts[0] - _RESTVAL, *counts[1:])
  return counts


def compare_published(
  dataset: str, splits: dict[str, list[listing.Picture]], with_restval: bool
) -> list[str]:
  """Returns a line per split whose number of pictures is not the published."""
  return [
    f'{dataset} {name}: {len(splits[name]):,} pictures, published are '
    f'{count:,}.'
    for name, count in zip(listing.SPLITS, published(dataset, with_restval))
    if len(splits[name]) != count
  ]
