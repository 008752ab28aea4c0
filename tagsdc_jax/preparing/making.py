"""Makes records of captions and of regions from a feature file or photos."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tagsdc_jax.data import dataset
from tagsdc_jax.preparing import annotating, listing
from tagsdc_jax.preparing.regions import conventions, converting, store

# Pictures whose features are in memory at a time.
_BATCH = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
  """A picture to prepare.

  Attributes:
    picture: with its captions.
    key: its name in the store; None if it is missing there.
    number: of its first caption within the split.
    path: of its photo within the folder of photos; empty if unknown.
  """

  picture: listing.Picture
  key: str | None
  number: int
  path: str


@dataclasses.dataclass(frozen=True)
class RecordMaker:
  """Makes the records of pictures; see `writing.Maker`.

  Attributes:
    regions: where region features come from.
    convention: of their boxes.
    annotate: makes captions of sentences.
    max_regions: most regions per picture.
    max_tokens: captions of more tokens are counted, but kept.
  """

  regions: store.RegionStore
  convention: conventions.Convention
  annotate: annotating.Annotator
  max_regions: int
  max_tokens: int

  @property
  def feature_size(self) -> int:
    """F, the numbers per region."""
    return self.convention.feature_size

  def __call__(
    self, tasks: Sequence[Task], made: Callable[[int], Any]
  ) -> Iterator[tuple[Any, dict[str, int]]]:
    """Yields a record or why there is none, and counts, for each picture."""
    captions = self.annotate([s for t in tasks for s in t.picture.sentences])
    for start in range(0, len(tasks), _BATCH):
      batch = tasks[start : start + _BATCH]
      found = self._read(batch)
      for task in batch:
        own = [next(captions) for _ in task.picture.sentences]
        yield self._make(task, own, found.get(task.key))
      made(len(batch))

  def _read(
    self, tasks: Sequence[Task]
  ) -> dict[str | None, store.StoredRegions | store.Unreadable]:
    keys = [task.key for task in tasks if task.key is not None]
    return dict(zip(keys, self.regions.read(keys), strict=True))

  def _make(
    self,
    task: Task,
    captions: list[dataset.Caption],
    found: store.StoredRegions | store.Unreadable | None,
  ) -> tuple[Any, dict[str, int]]:
    from tagsdc_jax.data.prepared import schema

    picture = task.picture
    where = f'{self.regions.path}: {task.key}'
    if found is None:
      found = store.Unreadable(
        f'{self.regions.path}: no picture {picture.image_id}'
      )
    kept = [
      (number, caption)
      for number, caption in enumerate(captions, task.number)
      if self.annotate.is_usable(caption)
    ]
    if not kept:
      found = store.Unreadable(
        f'{picture.image_id}: no caption has usable tokens'
      )
    if isinstance(found, store.Unreadable):
      return found, {}
    converted = converting.convert(
      found,
      self.convention,
      where,
      self.max_regions,
      (picture.width, picture.height),
    )
    if isinstance(converted, store.Unreadable):
      return converted, {}
    regions, tally = converted
    nothing = np.zeros(0, np.float32)
    lengths = [len(caption.token_ids) for _, caption in kept]
    record = schema.Record(
      image_id=picture.image_id,
      path=task.path,
      width=regions.width,
      height=regions.height,
      features=regions.features,
      boxes=regions.boxes,
      confidence=nothing if regions.confidence is None else regions.confidence,
      labels=nothing if regions.labels is None else regions.labels,
      captions=[caption for _, caption in kept],
      numbers=[number for number, _ in kept],
    )
    return record, tally.to_json() | {
      'captions': len(kept),
      'captions_unusable': len(captions) - len(kept),
      'captions_long': sum(length > self.max_tokens for length in lengths),
      'captions_bare': sum(not caption.phrases for _, caption in kept),
      'tokens': sum(lengths),
      'tokens_unknown': sum(self.annotate.count_unknown(c) for _, c in kept),
    }
