"""Opens a user's data source and checks what it returns."""

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from tagsdc_jax import errors, extensions, settings
from tagsdc_jax.data import dataset, regions

_SPECIAL = ('pad', 'unk', 'cls', 'sep', 'mask')
_DTYPES = ('float16', 'float32')


def open_checked(
  source: Callable[..., Any], config: settings.Data, split: str
) -> dataset.RetrievalDataset:
  """Returns a split of a user's data set; regions are checked as they are read.

  Args:
    source: the user's function: (config, split) -> `RetrievalDataset`.
    config: settings; `source` is the function's name.
    split: name of the split.
  Raises:
    UserError: if the function fails or returns an invalid data set; names the
      function.
  """
  what = f'data.source = {config.source}, split {split},'
  return extensions.call(
    _checked, what, extensions.call(source, what, config, split), what
  )


def _checked(data: Any, what: str) -> dataset.RetrievalDataset:
  if not isinstance(data, dataset.RetrievalDataset):
    raise errors.UserError(
      f'{what} must return a tagsdc_jax.data.dataset.RetrievalDataset, got '
      f'{type(data).__name__}'
    )
  _check(
    isinstance(data.name, str) and data.name, what, 'a name', repr(data.name)
  )
  _check_vocabulary(data.vocabulary, what)
  images = len(data.image_ids)
  for name in ('captions_of_image', 'num_regions', 'image_keys'):
    _check(
      len(getattr(data, name)) == images,
      what,
      f'{name} for each of {images} images',
      len(getattr(data, name)),
    )
  for name, ids in (
    ('caption', [c.caption_id for c in data.captions]),
    ('image', data.image_ids),
  ):
    _check(len(ids) > 0, what, f'at least one {name}', 'none')
    _check(
      all(isinstance(x, str) for x in ids),
      what,
      f'{name} ids as strings',
      next((repr(x) for x in ids if not isinstance(x, str)), ''),
    )
    _check(
      len(set(ids)) == len(ids),
      what,
      f'unique {name} ids',
      f'{len(ids) - len(set(ids))} repeated',
    )
  for caption in data.captions:
    _check_caption(caption, images, data.vocabulary, what)
  groups = dataset.group_captions(data.captions, images)
  for image, (group, listed) in enumerate(zip(groups, data.captions_of_image)):
    _check(
      group == tuple(sorted(listed)),
      what,
      f'captions_of_image[{image}] = {group}, the captions of that image',
      listed,
    )
  num_regions = np.asarray(data.num_regions)
  _check(
    num_regions.shape == (images,)
    and num_regions.dtype.kind in 'iu'
    and num_regions.min() > 0,
    what,
    f'num_regions as {images} positive integers',
    data.num_regions,
  )
  dtype = np.dtype(data.feature_dtype)
  _check(
    dtype.name in _DTYPES, what, f'feature_dtype {" or ".join(_DTYPES)}', dtype
  )
  _check(
    isinstance(data.feature_size, int),
    what,
    'feature_size as int',
    type(data.feature_size).__name__,
  )
  _check(
    callable(data.read_regions),
    what,
    'a function read_regions',
    data.read_regions,
  )
  checked = dataclasses.replace(
    data,
    feature_dtype=dtype,
    num_regions=num_regions.astype(np.int32),
    captions_of_image=groups,
    captions=[
      dataclasses.replace(
        c,
        image=int(c.image),
        token_ids=np.asarray(c.token_ids, np.int32),
        phrases=tuple(tuple(map(int, p)) for p in c.phrases if len(p)),
      )
      for c in data.captions
    ],
    read_regions=_reading(data, dtype, what),
  )
  checked.read_regions(0)  # Fail early on faults that all images share.
  return checked


def _check_vocabulary(vocabulary: Any, what: str) -> None:
  _check(
    isinstance(vocabulary, dataset.Vocabulary),
    what,
    'vocabulary as a Vocabulary',
    type(vocabulary).__name__,
  )
  size, (low, high) = vocabulary.size, vocabulary.random_range
  _check(
    isinstance(size, int), what, 'vocabulary.size as int', type(size).__name__
  )
  for name in _SPECIAL:
    number = getattr(vocabulary, name)
    _check(
      _is_below(number, size),
      what,
      f'vocabulary.{name} from 0 to {size - 1}',
      number,
    )
  _check(
    0 <= low < high <= size,
    what,
    f'vocabulary.random_range [low, high) with 0 <= low < high <= {size}',
    (low, high),
  )
  _check(
    len(vocabulary.words) in (0, size),
    what,
    f'{size} vocabulary.words, or none',
    len(vocabulary.words),
  )


def _check_caption(
  caption: Any, images: int, vocabulary: dataset.Vocabulary, what: str
) -> None:
  _check(
    isinstance(caption, dataset.Caption),
    what,
    'captions as Caption',
    type(caption).__name__,
  )
  what = f'{what} caption {caption.caption_id},'
  _check(
    _is_below(caption.image, images),
    what,
    f'image from 0 to {images - 1}',
    caption.image,
  )
  ids = np.asarray(caption.token_ids)
  _check(
    ids.ndim == 1 and len(ids) > 0 and ids.dtype.kind in 'iu',
    what,
    'token_ids as one or more integers',
    caption.token_ids,
  )
  _check(
    ids.min() >= 0 and ids.max() < vocabulary.size,
    what,
    f'token_ids from 0 to {vocabulary.size - 1}',
    caption.token_ids,
  )
  for name in ('pad', 'cls', 'sep', 'mask'):
    _check(
      getattr(vocabulary, name) not in ids,
      what,
      f'token_ids without [{name.upper()}], which is added later',
      caption.token_ids,
    )
  _check(
    all(
      _is_below(place, len(ids))
      for phrase in caption.phrases
      for place in phrase
    ),
    what,
    f'phrases of token positions from 0 to {len(ids) - 1}',
    caption.phrases,
  )
  _check(
    isinstance(caption.text, str),
    what,
    'text as a string, which may be empty',
    caption.text,
  )


def _reading(
  data: dataset.RetrievalDataset, dtype: np.dtype, what: str
) -> Callable[[int], dataset.Regions]:
  """Returns the user's `read_regions` with every result checked."""

  def read(image: int) -> dataset.Regions:
    name = f'{what} read_regions of image {data.image_ids[image]}'
    found = extensions.call(data.read_regions, name, image)
    _check(
      isinstance(found, dataset.Regions), name, 'Regions', type(found).__name__
    )
    extensions.call(
      regions.check_regions, name, found, name, data.feature_size, dtype
    )
    _check(
      len(found.boxes) <= data.num_regions[image],
      name,
      f'at most num_regions = {data.num_regions[image]} regions',
      len(found.boxes),
    )
    return found

  return read


def _is_below(number: Any, limit: int) -> bool:
  return isinstance(number, numbers.Integral) and 0 <= int(number) < limit


def _check(is_right: Any, what: str, expected: str, got: Any) -> None:
  if not is_right:
    raise errors.UserError(
      f'{what} must give {expected}, got {" ".join(str(got).split())[:80]}'
    )
