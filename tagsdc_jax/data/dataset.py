"""What every data source returns: captions in memory, regions on demand."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from tagsdc_jax import errors


@dataclasses.dataclass(frozen=True, slots=True)
class Vocabulary:
  """Token ids that the method needs, and the words if known.

  Attributes:
    size: number of tokens V.
    pad, unk, cls, sep, mask: ids of the special tokens.
    random_range: [low, high), ids from which a random replacement token is
      drawn when masking (`v_range` in UNITER's meta.json).
    words: one string per id, or empty without a vocabulary file.
    tokenizer: its name in the data, or empty.
  """

  size: int
  pad: int
  unk: int
  cls: int
  sep: int
  mask: int
  random_range: tuple[int, int]
  words: tuple[str, ...] = ()
  tokenizer: str = ''


@dataclasses.dataclass(frozen=True, slots=True)
class Caption:
  """One caption.

  Attributes:
    caption_id: its id in the data, unique within the split.
    image: number of its image, an index into `RetrievalDataset.image_ids`.
    token_ids: without [CLS] and [SEP].
    phrases: token positions of every object, attribute and relation, counted
      from 0 without [CLS]. May overlap; may be empty.
    text: the raw sentence.
    phrase_kinds: OBJECT, ATTRIBUTE or RELATION of data/phrases.py for each
      phrase; empty if unknown.
  """

  caption_id: str
  image: int
  token_ids: Int32[np.ndarray, 'tokens']
  phrases: tuple[tuple[int, ...], ...]
  text: str
  phrase_kinds: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Regions:
  """Regions of one image, in the order in which they are stored.

  Attributes:
    features: float16 or float32.
    boxes: x1, y1, x2, y2, w, h, w * h, all divided by the image's width or
      height.
  """

  features: Float[np.ndarray, 'regions F']
  boxes: Float32[np.ndarray, 'regions 7']


@dataclasses.dataclass(frozen=True)
class RetrievalDataset:
  """One split of an image-text data set, with random access.

  Attributes:
    name: used in messages, e.g. "world/validation".
    vocabulary: see `Vocabulary`.
    captions: all captions of the split.
    image_ids: the images' ids in the data.
    captions_of_image: the numbers of each image's captions; not necessarily
      five.
    read_regions: image number -> its regions; safe to call from threads.
    num_regions: number of regions of each image, or an upper bound of it.
    feature_size: F.
    feature_dtype: dtype of the features that `read_regions` returns.
    image_keys: (store, name in it) of each image; images with equal keys, in
      this split or another, are the same image. Empty: (name, image id).
  """

  name: str
  vocabulary: Vocabulary
  captions: Sequence[Caption]
  image_ids: Sequence[str]
  captions_of_image: Sequence[tuple[int, ...]]
  read_regions: Callable[[int], Regions]
  num_regions: Int[np.ndarray, 'images']
  feature_size: int
  feature_dtype: np.dtype
  image_keys: Sequence[tuple[str, str]] = ()

  def __post_init__(self) -> None:
    if not self.image_keys:
      object.__setattr__(
        self, 'image_keys', [(self.name, name) for name in self.image_ids]
      )

  @property
  def region_bytes(self) -> int:
    """Size of the decoded region features of all images."""
    return (
      int(self.num_regions.sum())
      * self.feature_size
      * self.feature_dtype.itemsize
    )


def group_captions(
  captions: Sequence[Caption], num_images: int
) -> list[tuple[int, ...]]:
  """Returns the numbers of each image's captions, `captions_of_image`."""
  groups: list[list[int]] = [[] for _ in range(num_images)]
  for number, caption in enumerate(captions):
    groups[caption.image].append(number)
  return [tuple(group) for group in groups]


@dataclasses.dataclass(frozen=True)
class Contents:
  """A split's contents without its regions.

  Attributes:
    name, vocabulary: as in `RetrievalDataset`.
    image_keys: of all images.
    captions: the bytes of each caption's `token_ids`.
  """

  name: str
  vocabulary: Vocabulary
  image_keys: frozenset[tuple[str, str]]
  captions: frozenset[bytes]


def contents_of(data: RetrievalDataset) -> Contents:
  """Returns a split's contents without its regions."""
  return Contents(
    data.name,
    data.vocabulary,
    frozenset(data.image_keys),
    frozenset(c.token_ids.tobytes() for c in data.captions),
  )


def check_same_vocabulary(
  a: RetrievalDataset | Contents, b: RetrievalDataset
) -> None:
  """Raises UserError if two splits do not share one vocabulary.

  Words and tokenizer are compared only if both splits have them.
  """
  for name in (
    'size',
    'pad',
    'unk',
    'cls',
    'sep',
    'mask',
    'words',
    'tokenizer',
  ):
    values = [getattr(x.vocabulary, name) for x in (a, b)]
    if name == 'tokenizer':  # It may be prefixed by an owner or a path.
      values = [value.rstrip('/').split('/')[-1] for value in values]
    is_known = all(value not in ('', ()) for value in values)
    if is_known and values[0] != values[1]:
      raise errors.UserError(
        f'{a.name} and {b.name} must share one vocabulary, but its {name} is '
        f'{str(values[0])[:80]} and {str(values[1])[:80]}; tokenize the '
        'captions of both with the same one'
      )
