"""Opens the data set that the settings name."""

import dataclasses
import functools
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tagsdc_jax import errors, extensions, settings
from tagsdc_jax.data import checking, dataset

SPLITS = ('train', 'validation', 'test')
# Separators that users write between folders.
_SEPARATORS = re.compile('[,;: ]+')


def open_split(
  config: settings.Data, split: str, folder: str = ''
) -> dataset.RetrievalDataset:
  """Returns a split of the data set that the settings name.

  Args:
    config: where the data is.
    split: 'train' drops captions over the limit; others keep every caption.
    folder: the setting `extensions`, for a user's own source.
  Raises:
    UserError: if something is missing or corrupt.
  """
  source = extensions.find(config.source, SOURCES, 'data.source', folder)
  if extensions.is_own(config.source):
    opened = _shortened(
      checking.open_checked(source, config, split), config, split
    )
  else:
    opened = source(config, split)
  if not config.cache_regions:
    return opened
  # The reader is pure, so a cache per image is all that is needed.
  return dataclasses.replace(
    opened, read_regions=functools.cache(opened.read_regions)
  )


def _open_world(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  # Imported here: TFDS takes seconds to import and LMDB runs do not need it.
  from tagsdc_jax.data.world import dataset as world

  data = world.load_world(
    split,
    data_dir=config.root or None,
    size=config.world_size,  # type: ignore[arg-type]
  )
  return _shortened(data, config, split)


def load_scenes(config: settings.Data, split: str) -> list[Any]:
  """Returns the scenes of the embedded world's pictures, for its oracle.

  Args:
    config: with the source 'world'.
    split: name of the split.
  """
  from tagsdc_jax.data.world import dataset as world

  return world.load_scenes(
    split,
    data_dir=config.root or None,
    size=config.world_size,  # type: ignore[arg-type]
  )


def _shortened(
  data: dataset.RetrievalDataset, config: settings.Data, split: str
) -> dataset.RetrievalDataset:
  """Returns training data without captions over the limit; keeps all images."""
  limit = config.max_caption_tokens
  if split != 'train' or limit is None:
    return data
  kept = [
    number
    for number, caption in enumerate(data.captions)
    if len(caption.token_ids) <= limit
  ]
  if len(kept) == len(data.captions):
    return data
  if not kept:
    raise errors.UserError(
      f'{data.name} has no caption of at most data.max_caption_tokens = '
      f'{limit} tokens; raise it'
    )
  places = {caption: place for place, caption in enumerate(kept)}
  return dataclasses.replace(
    data,
    captions=[data.captions[number] for number in kept],
    captions_of_image=[
      tuple(places[c] for c in own if c in places)
      for own in data.captions_of_image
    ],
  )


def open_contents(
  config: settings.Data, split: str, folder: str = ''
) -> dataset.Contents:
  """Returns a split's contents; does not open the regions of LMDB folders.

  Args and errors: see `open_split`.
  """
  if resolved_source(config) != 'uniter_lmdb':
    return dataset.contents_of(open_split(config, split, folder))
  from tagsdc_jax.data import uniter_lmdb

  choice = _choice(config, split)
  del choice['vocabulary_file']  # No words are needed.
  parts = [
    uniter_lmdb.read_contents(text, image, **choice)
    for text, image in _folders(config, split)
  ]
  return dataset.Contents(
    ' + '.join(part.name for part in parts),
    parts[0].vocabulary,
    frozenset().union(*(part.image_keys for part in parts)),
    frozenset().union(*(part.captions for part in parts)),
  )


def _open_lmdb(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  from tagsdc_jax.data import uniter_lmdb

  return functools.reduce(
    join_datasets,
    (
      uniter_lmdb.load_uniter_lmdb(text, image, **_choice(config, split))
      for text, image in _folders(config, split)
    ),
  )


def _open_prepared(
  config: settings.Data, split: str
) -> dataset.RetrievalDataset:
  from tagsdc_jax.data.prepared import dataset as prepared

  if not config.root:
    raise errors.UserError(
      'data.root must be the folder that tagsdc prepare wrote, got nothing; '
      'set --config.data.root=FOLDER'
    )
  data = prepared.load_prepared(config.root, split, config.vocabulary or None)
  return _shortened(data, config, split)


def _open_found(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  return SOURCES[resolved_source(config)](config, split)


def resolved_source(config: settings.Data) -> str:
  """Returns `data.source`, or what auto stands for."""
  from tagsdc_jax.data.prepared import dataset as prepared

  if config.source != 'auto':
    return config.source
  is_prepared = config.root and prepared.is_prepared(config.root)
  return 'prepared' if is_prepared else 'uniter_lmdb'


# Values of `data.source`, besides a user's module:function. Each takes the data
# settings and the name of a split.
SOURCES: dict[str, Callable[[settings.Data, str], dataset.RetrievalDataset]] = {
  'world': _open_world,
  'prepared': _open_prepared,
  'uniter_lmdb': _open_lmdb,
  'auto': _open_found,
}


def _choice(config: settings.Data, split: str) -> dict[str, Any]:
  """Returns the settings that `load_uniter_lmdb` takes."""
  return {
    'max_tokens': (config.max_caption_tokens if split == 'train' else None),
    'vocabulary_file': config.vocabulary or None,
    'conf_threshold': config.region_confidence,
    'max_boxes': config.max_regions,
    'min_boxes': config.min_regions,
  }


def _folders(config: settings.Data, split: str) -> list[tuple[str, str]]:
  """Returns the text and image folders of each part of a split."""
  texts = getattr(config, f'{split}_text')
  images = getattr(config, f'{split}_images')
  texts = (texts,) if isinstance(texts, str) else texts
  images = (images,) if isinstance(images, str) else images
  texts, images = ([p for p in paths if p] for paths in (texts, images))
  if not texts or not images:
    key = f'data.{split}_text' if not texts else f'data.{split}_images'
    raise errors.UserError(
      f"{key} must name a folder of UNITER's LMDB format, got nothing; "
      f'set --config.{key}=FOLDER'
    )
  for kind, names in (('text', texts), ('images', images)):
    _check_separated(f'data.{split}_{kind}', names, config.root)
  if (
    not config.root
    and not os.path.isabs(texts[0])
    and not os.path.exists(texts[0])
  ):
    raise errors.UserError(
      f'data.root must name the folder that contains {texts[0]}, got nothing, '
      'and it is not in the current one; set --config.data.root=FOLDER'
    )
  if len(images) == 1:
    images = images * len(texts)
  if len(images) != len(texts):
    raise errors.UserError(
      f'data.{split}_images must name one folder, or one per text folder '
      f'({len(texts)}), got {len(images)}'
    )
  texts, images = (
    [os.path.join(config.root, path) for path in paths]
    for paths in (texts, images)
  )
  seen: dict[str, str] = {}
  for path in texts:
    real = os.path.realpath(path)
    if real in seen:
      raise errors.UserError(
        f'data.{split}_text must name each folder once, got {seen[real]} and '
        f'{path}, which are the same; remove one of them'
      )
    seen[real] = path
  return list(zip(texts, images, strict=True))


def _check_separated(key: str, names: list[str], root: str) -> None:
  """Raises UserError if several names were given as one, or one was split."""

  def is_there(name: str) -> bool:
    return os.path.exists(os.path.join(root, name))

  for name in names:
    if not is_there(name) and (
      is_there(','.join(names))
      or any(map(is_there, filter(None, _SEPARATORS.split(name))))
    ):
      several = isinstance(settings.ALL[key].default, tuple)
      raise errors.UserError(
        f'{key}: {os.path.join(root, name)} is missing; pass '
        + (
          'commas between several folders, and quotes around one whose '
          'name contains a comma'
          if several
          else 'one folder'
        )
      )


def join_datasets(
  a: dataset.RetrievalDataset, b: dataset.RetrievalDataset
) -> dataset.RetrievalDataset:
  """Returns one data set with the captions and images of two.

  For example COCO's train and restval, which share one pool of negatives. An
  image in both gets one number, so that it is never its own negative; its
  captions that are in both, by id and tokens, are added once.

  Raises:
    UserError: if features or vocabularies differ.
  """
  dataset.check_same_vocabulary(a, b)
  for name, *values in (
    ('feature_size', a.feature_size, b.feature_size),
    ('v_range', a.vocabulary.random_range, b.vocabulary.random_range),
  ):
    if values[0] != values[1]:
      raise errors.UserError(
        f'{a.name} and {b.name} cannot be joined: {name} is {values[0]} and '
        f'{values[1]}; write both with the same'
      )
  num_images = len(a.image_ids)
  numbers = {key: number for number, key in enumerate(a.image_keys)}
  added = [i for i, key in enumerate(b.image_keys) if key not in numbers]
  numbers |= {
    b.image_keys[i]: num_images + place for place, i in enumerate(added)
  }

  def read(image: int) -> dataset.Regions:
    return (
      a.read_regions(image)
      if image < num_images
      else b.read_regions(added[image - num_images])
    )

  captions = list(a.captions)
  own = [list(group) for group in a.captions_of_image] + [[] for _ in added]
  # Only of images that are in both; the others need no hashing.
  known = {
    _identity(captions[c], image)
    for image in (numbers[key] for key in b.image_keys)
    if image < num_images
    for c in own[image]
  }
  for caption in b.captions:
    image = numbers[b.image_keys[caption.image]]
    if image < num_images and _identity(caption, image) in known:
      continue
    own[image].append(len(captions))
    captions.append(dataclasses.replace(caption, image=image))
  return dataclasses.replace(
    a,
    name=f'{a.name} + {b.name}',
    captions=captions,
    image_ids=[*a.image_ids, *(b.image_ids[i] for i in added)],
    image_keys=[*a.image_keys, *(b.image_keys[i] for i in added)],
    captions_of_image=[tuple(group) for group in own],
    read_regions=read,
    num_regions=np.concatenate([a.num_regions, b.num_regions[added]]),
    feature_dtype=np.promote_types(a.feature_dtype, b.feature_dtype),
  )


def _identity(caption: dataset.Caption, image: int) -> tuple[str, int, bytes]:
  return caption.caption_id, image, caption.token_ids.tobytes()


def first_images(
  data: dataset.RetrievalDataset, count: int
) -> dataset.RetrievalDataset:
  """Returns the first images with their captions; all if count is 0."""
  if count == 0 or count >= len(data.image_ids):
    return data
  kept = [c for i in range(count) for c in data.captions_of_image[i]]
  places = {caption: place for place, caption in enumerate(kept)}
  return dataclasses.replace(
    data,
    name=f'{data.name}, first {count} images',
    captions=[data.captions[c] for c in kept],
    image_ids=data.image_ids[:count],
    image_keys=data.image_keys[:count],
    captions_of_image=[
      tuple(places[c] for c in own) for own in data.captions_of_image[:count]
    ],
    num_regions=data.num_regions[:count],
  )
