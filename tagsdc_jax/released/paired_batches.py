"""Micro-batches with a second positive, as the release's two loaders draw."""

import dataclasses

import numpy as np

from tagsdc_jax.data import loader

_SECOND = 2  # Stream of the second shuffle; 0 and 1 are the pools'.


@dataclasses.dataclass(frozen=True)
class PairedMicroBatches(loader.MicroBatches):
  """Each positive comes with an unrelated one for the retrieved texts' loss.

  Row 0 meets the pool's images, row 1 the pool's texts; each pool leaves out
  what belongs to its own row only.
  """

  @property
  def num_rows(self) -> int:
    """How many captions a micro-batch holds."""
    return 2 * self.positives

  def caption_numbers(self, number: int) -> list[int]:
    """Returns a caption of each of two independent shuffles."""
    second = np.random.SeedSequence([self.seed, _SECOND]).generate_state(1)
    return [
      *self.shuffled(number, self.seed),
      *self.shuffled(number, int(second[0])),
    ]

  def pool(
    self, number: int, image_numbers: list[int]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns N images not of the first row, N texts not of the second."""
    images, _ = super().pool(number, image_numbers[: self.positives])
    _, texts = super().pool(number, image_numbers[self.positives :])
    return images, texts
