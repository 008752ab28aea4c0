"""Settings -> the data set that they name."""

import dataclasses
import functools
import os

import numpy as np

from tagsdc_jax import errors, settings
from tagsdc_jax.data import dataset

SPLITS = ('train', 'validation', 'test')


def open_split(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  """Returns a split of the data set that the settings name.

  Args:
    config: where the data lies.
    split: 'train' drops captions over the limit; others keep every caption.
  Raises:
    UserError: if something is missing or damaged.
  """
  opened = (_open_world(config, split) if config.source == 'world'
            else _open_lmdb(config, split))
  if not config.cache_regions:
    return opened
  # The reader is pure, so a cache per image is all that is needed.
  return dataclasses.replace(
      opened, read_regions=functools.cache(opened.read_regions))


def _open_world(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  # Imported here: TFDS takes seconds to import and LMDB runs do without.
  from tagsdc_jax.data.world import dataset as world
  data = world.load_world(split, data_dir=config.root or None,
                          size=config.world_size)  # type: ignore[arg-type]
  return (data if split != 'train' or config.max_caption_tokens is None
          else _without_longer(data, config.max_caption_tokens))


def _without_longer(data: dataset.RetrievalDataset,
                    limit: int) -> dataset.RetrievalDataset:
  """Returns the data without captions of more tokens; all images stay."""
  kept = [number for number, caption in enumerate(data.captions)
          if len(caption.token_ids) <= limit]
  if len(kept) == len(data.captions):
    return data
  if not kept:
    raise errors.UserError(
        f'{data.name} has no caption of at most data.max_caption_tokens = '
        f'{limit} tokens; raise it')
  places = {caption: place for place, caption in enumerate(kept)}
  return dataclasses.replace(
      data, captions=[data.captions[number] for number in kept],
      captions_of_image=[tuple(places[c] for c in own if c in places)
                         for own in data.captions_of_image])


def _open_lmdb(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  from tagsdc_jax.data import uniter_lmdb
  texts = getattr(config, f'{split}_text')
  images = getattr(config, f'{split}_images')
  texts = (texts,) if isinstance(texts, str) else texts
  images = (images,) if isinstance(images, str) else images
  texts, images = ([p for p in paths if p] for paths in (texts, images))
  if not texts or not images:
    key = f'data.{split}_text' if not texts else f'data.{split}_images'
    raise errors.UserError(
        f'{key} must name a folder of UNITER\'s LMDB format, got nothing; '
        f'set --config.{key}=FOLDER')
  if not config.root and not os.path.exists(texts[0]):
    raise errors.UserError(
        f'data.root must name the folder that holds {texts[0]}, got nothing, '
        'and it is not in this one; set --config.data.root=FOLDER')
  if len(images) == 1:
    images = images * len(texts)
  if len(images) != len(texts):
    raise errors.UserError(
        f'data.{split}_images must name one folder, or one per text folder '
        f'({len(texts)}), got {len(images)}')
  is_training = split == 'train'
  parts = [
      uniter_lmdb.load_uniter_lmdb(
          os.path.join(config.root, text), os.path.join(config.root, image),
          max_tokens=config.max_caption_tokens if is_training else None,
          vocabulary_file=config.vocabulary or None,
          conf_threshold=config.region_confidence,
          max_boxes=config.max_regions, min_boxes=config.min_regions)
      for text, image in zip(texts, images, strict=True)]
  return functools.reduce(join_datasets, parts)


def join_datasets(a: dataset.RetrievalDataset,
                  b: dataset.RetrievalDataset) -> dataset.RetrievalDataset:
  """Returns one data set over the captions and images of two.

  COCO's train and restval are such a pair: one pool of negatives.

  Raises:
    UserError: if features or vocabularies differ.
  """
  for name in ('feature_size', 'vocabulary'):
    if getattr(a, name) != getattr(b, name):
      raise errors.UserError(
          f'{a.name} and {b.name} cannot be joined: {name} is '
          f'{str(getattr(a, name))[:80]} and {str(getattr(b, name))[:80]}')
  num_images, num_captions = len(a.image_ids), len(a.captions)
  shifted = [dataclasses.replace(c, image=c.image + num_images)
             for c in b.captions]

  def read(image: int) -> dataset.Regions:
    first = image < num_images
    return (a.read_regions(image) if first
            else b.read_regions(image - num_images))

  return dataclasses.replace(
      a, name=f'{a.name} + {b.name}', captions=[*a.captions, *shifted],
      image_ids=[*a.image_ids, *b.image_ids],
      captions_of_image=[
          *a.captions_of_image,
          *(tuple(c + num_captions for c in own)
            for own in b.captions_of_image)],
      read_regions=read,
      num_regions=np.concatenate([a.num_regions, b.num_regions]),
      feature_dtype=np.promote_types(a.feature_dtype, b.feature_dtype))


def first_images(data: dataset.RetrievalDataset,
                 count: int) -> dataset.RetrievalDataset:
  """Returns the first images with their captions; all if count is 0."""
  if count == 0 or count >= len(data.image_ids):
    return data
  kept = [c for i in range(count) for c in data.captions_of_image[i]]
  places = {caption: place for place, caption in enumerate(kept)}
  return dataclasses.replace(
      data, name=f'{data.name}, first {count} images',
      captions=[data.captions[c] for c in kept],
      image_ids=data.image_ids[:count],
      captions_of_image=[tuple(places[c] for c in own)
                         for own in data.captions_of_image[:count]],
      num_regions=data.num_regions[:count])
