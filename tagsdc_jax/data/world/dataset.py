"""Reads the embedded world, generating it first if it is missing."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from tagsdc_jax.data.dataset import Caption, Regions, RetrievalDataset
from tagsdc_jax.data.world import grammar, pictures
from tagsdc_jax.data.world.scenes import SPLITS, Scene
from tagsdc_jax.errors import UserError, named
from tagsdc_jax.runtime.progress import progress_bar

Size = Literal['default', 'tiny']
SIZES = ('default', 'tiny')
# Where TFDS keeps its data sets.
DEFAULT_DATA_DIR = '~/tensorflow_datasets'


def load_world(
  split: str, *, data_dir: str | None = None, size: Size = 'default'
) -> RetrievalDataset:
  """Returns one split, entirely in memory.

  Args:
    split: "train", "validation" or "test".
    data_dir: folder of TFDS data sets, "~/tensorflow_datasets" if None; the
      data set is generated there if it is missing.
    size: "default" (6000, 200 and 200 pictures) or "tiny" (64, 24 and 24).
  Raises:
    UserError: if split or size is unknown or the folder cannot be used.
  """
  source = _open(split, data_dir, size)
  regions: list[Regions] = []
  captions: list[Caption] = []
  captions_of_image: list[tuple[int, ...]] = []
  for image, record in enumerate(_records(source, split)):
    regions.append(Regions(record['region_features'], record['boxes']))
    first = len(captions)
    captions += _read_captions(image, record['captions'])
    captions_of_image.append(tuple(range(first, len(captions))))
  return RetrievalDataset(
    name=f'world/{split}',
    vocabulary=grammar.VOCABULARY,
    captions=captions,
    image_ids=[f'{split}-{image:05d}' for image in range(len(regions))],
    captions_of_image=captions_of_image,
    read_regions=regions.__getitem__,
    num_regions=np.array([len(r.boxes) for r in regions], np.int32),
    feature_size=pictures.FEATURE_SIZE,
    feature_dtype=np.dtype(np.float16),
  )


def load_scenes(
  split: str, *, data_dir: str | None = None, size: Size = 'default'
) -> list[Scene]:
  """Returns the scene of every picture, for the oracle; see `load_world`."""
  return [
    Scene.from_json(_to_str(record['scene']))
    for record in _records(_open(split, data_dir, size), split)
  ]


def load_picture(
  split: str, image: int, *, data_dir: str | None = None, size: Size = 'default'
) -> Image.Image:
  """Returns picture number `image` of a split, RGB; see `load_world`."""
  source = _open(split, data_dir, size, with_images=True)
  if not 0 <= image < len(source):
    raise UserError(
      f'image must be 0 to {len(source) - 1} in world/{split}, got {image}'
    )
  return Image.fromarray(source[image]['image'])


def _read_captions(image: int, records: dict[str, Any]) -> list[Caption]:
  return [
    Caption(
      caption_id=f'{image:05d}-{number}',
      image=image,
      # Ids and positions are not negative; padding is.
      token_ids=token_ids[token_ids >= 0].astype(np.int32),
      phrases=tuple(
        tuple(int(position) for position in row if position >= 0)
        for row in phrases
        if row[0] >= 0
      ),
      text=_to_str(text),
      phrase_kinds=tuple(
        grammar.phrase_kind(grammar.WORDS[token_ids[row[0]]])
        for row in phrases
        if row[0] >= 0
      ),
    )
    for number, (text, token_ids, phrases) in enumerate(
      zip(records['text'], records['token_ids'], records['phrases'])
    )
  ]


def _open(
  split: str, data_dir: str | None, size: str, with_images: bool = False
) -> Sequence[Any]:
  """Returns the records of a split in order; generates them if needed."""
  for name, value, known in (('split', split, SPLITS), ('size', size, SIZES)):
    if value not in known:
      raise UserError(
        f'{name} of the embedded world must be one of {", ".join(known)}, '
        f'got {value!r}'
      )
  # Imported here: tensorflow_datasets takes a second to import.
  import tensorflow_datasets as tfds

  data_dir = os.path.abspath(os.path.expanduser(data_dir or DEFAULT_DATA_DIR))
  with named(Path(data_dir)):
    builder = _prepare(data_dir, size)
  decoders = {} if with_images else {'image': tfds.decode.SkipDecoding()}
  try:
    source = builder.as_data_source(split, decoders=decoders)
    # The first access opens the file: a missing or truncated one fails here.
    source[len(source) - 1]
  except (RuntimeError, OSError, IndexError) as error:
    raise _damaged(builder.data_dir, error) from error
  return source


def _records(source: Any, split: str) -> Iterator[Any]:
  """Yields all records of a split, with a progress bar."""
  with progress_bar(len(source), f'reading world/{split}', 'pictures') as bar:
    for number in range(len(source)):
      try:
        record = source[number]
      except (RuntimeError, OSError, ValueError) as error:
        raise _damaged(source.dataset_info.data_dir, error) from error
      yield record
      bar.update(1)


def _damaged(folder: str, error: Exception) -> UserError:
  reason = str(error).split(';')[0]
  return UserError(
    f'the embedded world in {folder} is corrupt ({reason}); delete that '
    'folder to generate it again'
  )


def _prepare(data_dir: str, size: str) -> Any:
  """Returns a TFDS builder whose files exist."""
  import tensorflow_datasets as tfds

  from tagsdc_jax.data.world.builder import EmbeddedWorld

  builder = EmbeddedWorld(data_dir=data_dir, config=size)
  if builder.is_prepared():
    return builder
  config = builder.builder_config
  total = config.train + config.validation + config.test
  tfds.disable_progress_bar()
  try:
    # TFDS prints notes to standard output; nothing is downloaded.
    with (
      contextlib.redirect_stdout(io.StringIO()),
      progress_bar(total, 'generating the embedded world', 'pictures') as bar,
    ):
      builder.made = bar.update
      builder.download_and_prepare(file_format='array_record')
    return builder
  except OSError:
    # Another process may have written its files there a moment earlier.
    builder = EmbeddedWorld(data_dir=data_dir, config=size)
    if not builder.is_prepared():
      raise
    return builder


def _to_str(text: bytes | str) -> str:
  return text.decode() if isinstance(text, bytes) else text
