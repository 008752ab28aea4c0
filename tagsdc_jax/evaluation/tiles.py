"""How the matrix of scores is cut into tiles, and what of them is padding."""

import dataclasses

import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.engines.packed import chunks

# Fewer programs are taken as long as they compute this much more than a
# program per length would.
_SLACK = 0.04
# Share of rows or columns that may be repetitions for a larger tile's sake.
_FILLING = 0.01
_GOLDEN = 0.6180339887  # Multiples of it, modulo 1, never cluster.


@dataclasses.dataclass(frozen=True)
class Plan:
  """Tiles over captions and images, both sorted by length.

  A part is what all devices hold at once, `tile_images` images each; it is
  also what an interrupted evaluation keeps. All groups of texts pass by it.

  Attributes:
    texts: int [text groups, tile_texts], caption numbers; the shortest one is
      repeated where they do not divide the captions.
    images: int [parts, devices, tile_images], likewise.
    text_lengths: int [text groups], longest caption of each group, [CLS] and
      [SEP] included.
    image_lengths: int [parts], most regions of any image of the part.
    buckets: ascending padded lengths, one compiled program each.
    padding: share of what is computed that is no token or region of a pair
      that is needed, 0 to 1.
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
    """Returns the shortest bucket that holds so many tokens and regions."""
    return next(w for w in self.buckets if w >= length)


def make_plan(
  data: dataset.RetrievalDataset, config: settings.Evaluation, num_devices: int
) -> Plan:
  """Returns tiles of at most the sizes that the settings name.

  Args:
    data: the split.
    config: tile sizes and the most programs.
    num_devices: devices that work on a part.
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
  """Returns the numbers below `count`, neighbours far apart, the last first.

  Work that grows with its number, done in this order, goes on at an even pace
  from the start, so that the time left is known early. And what needs most
  memory comes first.
  """
  places = (np.arange(count) * _GOLDEN) % 1
  return [count - 1 - int(i) for i in np.argsort(places, kind='stable')]


def few_buckets(lengths: np.ndarray, most: int) -> tuple[int, ...]:
  """Returns ascending buckets that pad little.

  Args:
    lengths: int [tiles], not empty.
    most: how many at most; fewer if they pad hardly more than one length per
      length would.
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
  """Returns numbers in order of length, int [groups, devices, <= most]."""
  count = len(lengths)
  most = min(most, -(-count // num_devices))
  # The largest size that leaves next to nothing to fill up; 60 images in
  # eights would be 64, in sixes they are 60.
  sizes = range(most, most // 2, -1)
  missing = [-count % (size * num_devices) for size in sizes]
  allowed = max(min(missing), int(_FILLING * count))
  size, lacking = next(
    (size, number) for size, number in zip(sizes, missing) if number <= allowed
  )
  # The shortest fills up, as it costs least.
  order = np.pad(np.argsort(lengths, kind='stable'), (lacking, 0), mode='edge')
  return order.reshape(-1, num_devices, size)
