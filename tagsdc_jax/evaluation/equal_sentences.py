"""Captions of one split that are word for word the same sentence. Numpy only.

The network sees tokens, so captions with equal tokens are equal sentences and
get the same score with an image. If a caption of another image equals one of
this image's own, the tie is not the model's fault and does not count against
it. Published numbers still count it as the caption of another image, i.e.
wrong; `repeated` gives what would be right if equal sentences were.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tagsdc_jax.data import dataset


@dataclasses.dataclass(frozen=True)
class Sentences:
  """Which captions are equal.

  Attributes:
    numbers: int [captions], equal where the captions are.
  """

  numbers: np.ndarray

  @functools.cached_property
  def repeated(self) -> dict[int, np.ndarray]:
    """Repeated sentences -> their captions, ascending."""
    order = np.argsort(self.numbers, kind='stable')
    _, starts = np.unique(self.numbers[order], return_index=True)
    return {
      int(self.numbers[group[0]]): group
      for group in np.split(order, starts[1:])
      if len(group) > 1
    }

  def repetitions(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of the first and a later equal caption, int [n] each."""
    pairs = np.array(
      [
        (group[0], other)
        for group in self.repeated.values()
        for other in group[1:]
      ],
      int,
    ).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]

  def subset(self, captions: np.ndarray) -> 'Sentences':
    """Returns the sentences of some captions, in their order."""
    return Sentences(self.numbers[captions])

  def twins(self, own: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the other captions that are equal to these.

    Args:
      own: numbers of captions.
    Returns:
      int [n, 2], pairs of one of these and an equal one not among them.
    """
    if not self.repeated:
      return np.zeros((0, 2), int)
    among = {int(caption) for caption in own}
    return np.array(
      [
        (one, other)
        for one in sorted(among)
        for other in self.repeated.get(int(self.numbers[one]), ())
        if other not in among
      ],
      int,
    ).reshape(-1, 2)

  def with_equal(self, captions: np.ndarray) -> np.ndarray:
    """Returns these captions and all equal ones, int [n], ascending."""
    found = [
      captions,
      *(
        self.repeated[number]
        for number in np.unique(self.numbers[captions]).tolist()
        if number in self.repeated
      ),
    ]
    return np.unique(np.concatenate(found).astype(int))


def find(captions: Sequence[dataset.Caption]) -> Sentences:
  """Returns which captions are equal, comparing their tokens."""
  seen: dict[bytes, int] = {}
  return Sentences(
    np.array(
      [
        seen.setdefault(
          np.asarray(caption.token_ids, np.int32).tobytes(), len(seen)
        )
        for caption in captions
      ],
      int,
    )
  )
