"""Examples of a prepared data set: pictures, their boxes, colored captions.

They are drawn with a fixed seed, spread over each split.
"""

import io
import itertools
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import dataset, phrases
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.preparing import counting
from tagsdc_jax.preparing.photos import opening
from tagsdc_jax.preparing.regions import store
from tagsdc_jax.reporting.page import content
from tagsdc_jax.reporting.page import prepared_content as page

KINDS = {
  phrases.OBJECT: 'object',
  phrases.ATTRIBUTE: 'attribute',
  phrases.RELATION: 'relation',
  0: 'phrase',
}
NUM_EXAMPLES, NUM_CAPTIONS, NUM_BOXES = 10, 5, 40
# At least this many of each split.
_OF_EACH = 2
_SEED = 0
# Pixels of the longer side, and JPEG's quality.
_SIDE, _QUALITY = 360, 80
# By which the shape of a photo may differ from the stored one.
_ROUNDING = 0.03


def choose(sizes: Mapping[str, int]) -> dict[str, Collection[int]]:
  """Returns the numbers of the pictures to show, of each split.

  A few of each, and the rest of the largest.

  Args:
    sizes: number of pictures of each split; may be 0.
  """
  counts = {name: min(_OF_EACH, size) for name, size in sizes.items()}
  for name in sorted(sizes, key=lambda name: -sizes[name]):
    left = NUM_EXAMPLES - sum(counts.values())
    counts[name] += max(0, min(left, sizes[name] - counts[name]))
  rng = np.random.default_rng(_SEED)
  chosen: dict[str, Collection[int]] = {}
  for name, count in counts.items():
    edges = np.linspace(0, sizes[name], count + 1).astype(int)
    chosen[name] = {
      int(rng.integers(low, high))
      for low, high in zip(edges[:-1], edges[1:], strict=True)
    }
  return chosen


def make(
  folder: Path,
  split: str,
  pictures: Mapping[int, prepared.Picture],
  vocabulary: dataset.Vocabulary,
  photos: str,
) -> list[page.Example]:
  """Returns the examples of a split.

  Args:
    folder: of the data set.
    split: name of the split.
    pictures: number in the split -> picture.
    vocabulary: of the data set.
    photos: folder of the photos; empty if there is none.
  Raises:
    UserError: if the data set is damaged.
  """
  boxes = prepared.read_boxes(
    folder, split, {number: p.image_id for number, p in pictures.items()}
  )
  return [
    _example(split, picture, boxes[number][:, :4], vocabulary, photos)
    for number, picture in pictures.items()
  ]


def read_photo(root: str, split: str, image: int) -> tuple[bytes | None, float]:
  """Returns a picture's photo, and width by height.

  Args:
    root: folder of the data set.
    split: name of the split.
    image: number of the picture in it.
  Returns:
    A small JPEG, None if there is none; 0 if the shape is unknown.
  Raises:
    UserError: if the data set is damaged.
  """
  report = prepared.read_metadata(root).get('report') or {}
  picture = prepared.read_picture(root, split, image)
  file, ratio = small_photo(report.get('photos') or '', picture.path)
  if file is None and picture.width and picture.height:
    ratio = picture.width / picture.height
  return file, ratio


def small_photo(photos: str, path: str) -> tuple[bytes | None, float]:
  """Returns a photo as a small JPEG, and width by height.

  Args:
    photos: folder of the photos.
    path: of the photo in it.
  Returns:
    None and 0 if it cannot be read.
  """
  photo = _open(path, photos)
  if isinstance(photo, opening.Photo):
    return _to_jpeg(photo.image), photo.width / photo.height
  return None, 0.0


def _example(
  split: str,
  picture: prepared.Picture,
  boxes: np.ndarray,
  vocabulary: dataset.Vocabulary,
  photos: str,
) -> page.Example:
  remarks = []
  width, height = picture.width, picture.height
  if width and height:
    remarks.append(f'{width} x {height} pixels')
  file = None
  photo = _open(picture.path, photos) if photos else None
  if isinstance(photo, store.Unreadable):
    remarks.append(photo.reason)
  elif photo is not None:
    file = _to_jpeg(photo.image)
    ratio = photo.width / photo.height
    if width and height and abs(width / height / ratio - 1) > _ROUNDING:
      remarks.append(f'but the photo has {photo.width} x {photo.height}')
    width, height = photo.width, photo.height
  if len(boxes) > 1 and (boxes == [0, 0, 1, 1]).all():
    remarks.append('every region is the whole picture')
  return page.Example(
    split,
    content.Picture(
      picture.image_id,
      file,
      boxes[:NUM_BOXES].tolist(),
      width / height if width and height else 0.0,
    ),
    len(boxes),
    [
      _caption(caption, vocabulary)
      for caption in picture.captions[:NUM_CAPTIONS]
    ],
    len(picture.captions),
    remarks,
  )


def _open(path: str, photos: str) -> opening.Photo | store.Unreadable:
  """Returns a photo, or a few words on why there is none."""
  inside = PurePosixPath(path)
  if not path or inside.is_absolute() or '..' in inside.parts:
    return store.Unreadable('its photo is unknown')
  place = Path(photos, path)
  if not place.is_file():
    return store.Unreadable(f'{place} is missing')
  with opening.quiet():
    return opening.open_photo(place, at_least=_SIDE)


def _to_jpeg(image: Image.Image) -> bytes:
  small = image.copy()
  small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
  stream = io.BytesIO()
  small.save(stream, 'JPEG', quality=_QUALITY, optimize=True)
  return stream.getvalue()


def _caption(
  caption: dataset.Caption, vocabulary: dataset.Vocabulary
) -> page.Caption:
  has_words = bool(vocabulary.words)
  return page.Caption(
    caption.text,
    runs_of(caption, vocabulary) if has_words else (),
    len(caption.token_ids),
    not has_words
    or captions_lib.is_decoding(caption.token_ids, caption.text, vocabulary),
  )


def runs_of(
  caption: dataset.Caption, vocabulary: dataset.Vocabulary
) -> list[page.Run]:
  """Returns the tokens of a caption, in runs of the same phrase.

  Args:
    caption: any.
    vocabulary: with words.
  """
  kinds = caption.phrase_kinds or (0,) * len(caption.phrases)
  pairs = zip(
    caption.token_ids.tolist(), counting.winners(caption), strict=True
  )
  runs = []
  for (phrase, is_unknown), group in itertools.groupby(
    pairs, lambda pair: (pair[1], pair[0] == vocabulary.unk)
  ):
    tokens = [token for token, _ in group]
    runs.append(
      page.Run(
        captions_lib.to_words(tokens, vocabulary, is_padded=False),
        '' if phrase is None else KINDS[kinds[phrase]],
        is_unknown,
        captions_lib.is_piece(tokens[0], vocabulary),
      )
    )
  return runs
