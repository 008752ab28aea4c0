"""Divides the score matrix into tiles, and measures their padding."""

import dataclasses

import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.engines.packed import chunks

# Fewer programs are preferred if they compute at most this much more than one
# program per length would.
_SLACK = 0.04
# Share of rows or columns that may be repeated to allow a larger tile.
_MAX_REPEATED = 0.01
_GOLDEN = 0.6180339887  # Multiples of it, modulo 1, never cluster.


@dataclasses.dataclass(frozen=True)
class Plan:
  """Tiles over captions and images, both sorted by length.

  A part is the images of all devices at a time, `tile_images` each; it is also
  the unit that an interrupted evaluation saves. It is scored against all groups
  of texts.

  Attributes:
    texts: int [text groups, tile_texts], caption numbers; the shortest one is
      repeated where they do not divide the captions.
    images: int [parts, devices, tile_images], likewise.
    text_lengths: int [text groups], longest caption of each group, including
      [CLS] and [SEP].
    image_lengths: int [parts], most regions of any image in the part.
    buckets: ascending padded lengths, one compiled program each.
    padding: share of the computed positions that are not a token or region of
      a needed pair, 0 to 1.
  """

  texts: np.ndarray
  images: np.ndarray
  text_lengths: np.ndarray
  image_lengths: np.ndarray
  buckets: tuple[int, ...]
  padding: float

  @property
  def tile_rows(self) -> int:
    """Pairs that a device scores at once."""
    return self.texts.shape[1] * self.images.shape[2]

  def bucket_of(self, length: int) -> int:
    """Returns the shortest bucket that fits `length` tokens and regions."""
    return next(w for w in self.buckets if w >= length)


def make_plan(
  data: dataset.RetrievalDataset, config: settings.Evaluation, num_devices: int
) -> Plan:
  """Returns tiles of at most the sizes in the settings.

  Args:
    data: the split.
    config: maximal tile sizes and number of programs.
    num_devices: devices that share a part.
  """
  lengths = text_lengths(data)
  regions = np.asarray(data.num_regions)
  texts = _groups(lengths, config.tile_texts, 1)[:, 0]
  images = _groups(regions, config.tile_images, num_devices)
  longest, most = lengths[texts].max(axis=1), regions[images].max(axis=(1, 2))
  sums = np.add.outer(longest, most).reshape(-1)
  buckets = few_buckets(sums, config.num_buckets)
  computed = np.sum(_padded(sums, buckets)) * texts.shape[1] * images[0].size
  real = np.sum(lengths) * len(regions) + np.sum(regions) * len(lengths)
  return Plan(texts, images, longest, most, buckets, float(1 - real / computed))


def text_lengths(data: dataset.RetrievalDataset) -> np.ndarray:
  """Returns tokens per caption with [CLS] and [SEP], int [captions]."""
  return np.array([len(c.token_ids) + 2 for c in data.captions])


def spread(count: int) -> list[int]:
  """Returns the numbers below `count`, neighbors far apart, the last first.

  If the work grows with the number, this order gives an even pace from the
  start, so that the remaining time is known early; and the part that needs the
  most memory comes first.
  """
  places = (np.arange(count) * _GOLDEN) % 1
  return [count - 1 - int(i) for i in np.argsort(places, kind='stable')]


def few_buckets(lengths: np.ndarray, most: int) -> tuple[int, ...]:
  """Returns ascending buckets with little padding.

  Args:
    lengths: int [tiles], not empty.
    most: maximal number of buckets; fewer are returned if they pad little more
      than a bucket per length would.
  """
  enough = (1 + _SLACK) * np.sum(lengths)
  for number in range(1, most + 1):
    buckets = chunks.length_buckets(lengths, int(lengths.max()), number)
    if np.sum(_padded(lengths, buckets)) <= enough:
      break
  return buckets


def _padded(lengths: np.ndarray, buckets: tuple[int, ...]) -> np.ndarray:
  return np.array(buckets)[np.searchsorted(buckets, lengths)]


def _groups(lengths: np.ndarray, most: int, num_devices: int) -> np.ndarray:
  """Returns numbers sorted by length, int [groups, devices, <= most]."""
  count = len(lengths)
  most = min(most, -(-count // num_devices))
  # The largest size that needs almost no repetitions: 60 images are padded to
  # 64 in eights, but to 60 in sixes.
  sizes = range(most, most // 2, -1)
  missing = [-count % (size * num_devices) for size in sizes]
  allowed = max(min(missing), int(_MAX_REPEATED * count))
  size, lacking = next(
    (size, number) for size, number in zip(sizes, missing) if number <= allowed
  )
  # The shortest is repeated, as it costs least.
  order = np.pad(np.argsort(lengths, kind='stable'), (lacking, 0), mode='edge')
  return order.reshape(-1, num_devices, size)
