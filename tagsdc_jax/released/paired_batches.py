"""Micro-batches with a second positive, as the release's two loaders draw."""

import dataclasses

import numpy as np

from tagsdc_jax.data import loader

_SECOND = 2  # Random stream of the second shuffle; pools use 0 and 1.


@dataclasses.dataclass(frozen=True)
class PairedMicroBatches(loader.MicroBatches):
  """Adds to each positive an unrelated one for the loss of retrieved texts.

  Row 0 is ranked against the pool's images, row 1 against its texts; each pool
  excludes only what belongs to its own row.
  """

  @property
  def num_rows(self) -> int:
    """The number of captions in a micro-batch."""
    return 2 * self.positives

  def caption_numbers(self, number: int) -> list[int]:
    """Returns captions from each of two independent shuffles."""
    second = np.random.SeedSequence([self.seed, _SECOND]).generate_state(1)
    return [
      *self.shuffled(number, self.seed),
      *self.shuffled(number, int(second[0])),
    ]

  def pool(
    self, number: int, image_numbers: list[int]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns N images unrelated to row 0 and N texts unrelated to row 1."""
    images, _ = super().pool(number, image_numbers[: self.positives])
    _, texts = super().pool(number, image_numbers[self.positives :])
    return images, texts
