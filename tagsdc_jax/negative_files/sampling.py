"""What is kept of a file of any length in bounded memory, by fixed seeds."""

import hashlib
import random
from typing import Generic, TypeVar

from tagsdc_jax.evaluation import blind

Item = TypeVar('Item')
# Sentences that are remembered.
_MOST_TEXTS = 1 << 18


class Reservoir(Generic[Item]):
  """A random sample of a stream: all of it, while there is room.

  Attributes:
    items: the sample.
    count: number of items seen.
  """

  def __init__(self, size: int, seed: int) -> None:
    """Keeps at most `size` items; which ones depends on the seed."""
    self.items: list[Item] = []
    self.count = 0
    self._size = size
    self._random = random.Random(seed)

  def add(self, item: Item) -> None:
    """Adds an item, which then is as likely in the sample as any other."""
    self.count += 1
    if len(self.items) < self._size:
      self.items.append(item)
      return
    # Only `random()` is the same in every version of Python.
    place = int(self._random.random() * self.count)
    if place < self._size:
      self.items[place] = item


class EqualTexts:
  """Counts equal sentences, as words in lower case.

  Sentences are told by 64-bit hashes. If there are too many, those with certain
  last bits stand for all: copies of a sentence are then all seen or all not.
  """

  def __init__(self, most: int = _MOST_TEXTS) -> None:
    """Remembers at most `most` sentences."""
    self._most = most
    self._bits = 0
    # Twice the number of negatives, and 1 if it is a caption.
    self._seen: dict[int, int] = {}

  def add_caption(self, text: str) -> None:
    """Adds a caption."""
    if (key := self._key(text)) is not None:
      self._seen[key] = self._seen.get(key, 0) | 1
      self._shrink()

  def add_negative(self, text: str) -> None:
    """Adds a negative."""
    if (key := self._key(text)) is not None:
      self._seen[key] = self._seen.get(key, 0) + 2
      self._shrink()

  @property
  def share(self) -> float:
    """Share of the sentences that is counted; 1 for all."""
    return 1 / (1 << self._bits)

  def repeated(self) -> int:
    """Returns the number of negatives that equal an earlier one."""
    return sum(max(0, one // 2 - 1) for one in self._seen.values()) << (
      self._bits
    )

  def captions(self) -> int:
    """Returns the number of negatives that equal any of the captions."""
    return sum(one // 2 for one in self._seen.values() if one & 1) << self._bits

  def _key(self, text: str) -> int | None:
    """Returns the hash of a sentence; None if it is not counted."""
    words = ' '.join(blind.words(text)).encode('utf-8', 'surrogatepass')
    key = int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), 'big')
    return key if self._counts(key) else None

  def _counts(self, key: int) -> bool:
    return not key & ((1 << self._bits) - 1)

  def _shrink(self) -> None:
    while len(self._seen) > self._most:
      self._bits += 1
      self._seen = {
        key: value for key, value in self._seen.items() if self._counts(key)
      }
