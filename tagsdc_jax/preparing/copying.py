"""Makes records of a data set that this package already reads."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tagsdc_jax.data import dataset


class Copier:
  """Makes the records of any `RetrievalDataset`; see `writing.Maker`.

  Pictures are (split, number of the image). Captions keep their tokens,
  phrases and order, so that micro-batches are the same.
  """

  def __init__(self, splits: dict[str, dataset.RetrievalDataset]) -> None:
    self._splits = splits

  @property
  def feature_size(self) -> int:
    """F, the numbers per region."""
    return next(iter(self._splits.values())).feature_size

  def __call__(
    self, pictures: Sequence[tuple[str, int]], made: Callable[[int], Any]
  ) -> Iterator[tuple[Any, dict[str, int]]]:
    """Yields a record and counts for each picture; see `writing.Maker`."""
    from tagsdc_jax.data.prepared import schema

    nothing = np.zeros(0, np.float32)
    for split, image in pictures:
      data = self._splits[split]
      regions = data.read_regions(image)
      numbers = data.captions_of_image[image]
      captions = [data.captions[number] for number in numbers]
      features = regions.features.astype(np.float16)
      overflowed = int(np.isinf(features).sum())
      made(1)
      yield (
        schema.Record(
          image_id=data.image_ids[image],
          path='',
          width=0,
          height=0,
          features=features,
          boxes=regions.boxes[:, :6],
          confidence=nothing,
          labels=nothing,
          captions=captions,
          numbers=numbers,
        ),
        {
          'pictures': 1,
          'captions': len(captions),
          'regions': len(features),
          'overflowed': overflowed,
        },
      )
