"""Finds which picture of the captions is which of a feature file.

Feature files name pictures by file name, by COCO's id, by a number in the data
set, with a prefix or without. One rule is chosen for the whole file: rules that
were mixed could give a picture the features of another.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from tagsdc_jax import errors
from tagsdc_jax.preparing.listing import Picture

_SUFFIX = re.compile(
  r'\.(jpe?g|png|gif|webp|bmp|tiff?|npz|npy|pth|pt|h5)$', re.IGNORECASE
)
# UNITER's and LXMERT's names begin with that of the data set.
_PREFIX = re.compile(
  r'^(flickr(8k|30k)|coco(_(train|val|test)\d{4})?|nlvr2|vg)_', re.IGNORECASE
)
_NUMBER = re.compile(r'(?:^|[_-])0*(\d+)$')
_SHOWN = 3


def stem(name: str) -> str:
  """Returns a name without folder and suffix."""
  return _SUFFIX.sub('', os.path.basename(name))


def bare(name: str) -> str:
  """Returns a name without folder, suffix and the name of the data set."""
  return _PREFIX.sub('', stem(name))


def _number(name: str) -> str | None:
  """Returns the number that a name is or ends in, without leading zeros."""
  found = _NUMBER.search(bare(name))
  return found[1] if found else None


# How names are compared, the most literal first. None: not comparable.
_FORMS: dict[str, Callable[[str], str | None]] = {
  'the same': lambda name: name,
  'the same without folder and suffix': stem,
  'the same without folder, suffix and the name of the data set': bare,
  'the same number': _number,
}


class Store(Protocol):
  """What has pictures by name: a `RegionStore`, or a folder of photos."""

  @property
  def path(self) -> str:
    """The file or folder, as the user named it."""

  @property
  def names(self) -> Collection[str]:
    """The names of all pictures in it."""


@dataclasses.dataclass(frozen=True)
class Names:
  """What has no more than names, for `match`."""

  path: str
  names: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
  """The names of pictures in a store.

  Attributes:
    keys: per picture its name in the store, or None if it is missing there.
    rule: how they were found.
    line: the same with counts and the first missing pictures, to print.
  """

  keys: list[str | None]
  rule: str
  line: str


def match(
  pictures: Sequence[Picture], store: Store, *, with_numbers: bool = True
) -> Match:
  """Returns the name of each picture in a store.

  The rule that finds most pictures is chosen, of equal ones the most literal.
  A rule with which one name could be two pictures is not used.

  Args:
    pictures: to look for.
    store: where.
    with_numbers: whether equal numbers in names may be enough, as they may be
      if both are known to belong together.
  Raises:
    UserError: if there is no picture, or no rule finds one.
  """
  if not pictures:
    raise errors.UserError(
      f'no pictures to look up in {store.path}; check the captions'
    )
  best: tuple[int, str, list[str | None]] = (0, '', [])
  ambiguous = ''
  for rule, keys, fault in _tried(pictures, store, with_numbers):
    if fault:
      ambiguous = ambiguous or fault
      continue
    count = sum(key is not None for key in keys)
    if count > best[0]:
      best = (count, rule, keys)
    if count == len(pictures):
      break
  count, rule, keys = best
  if not count:
    names = list(pictures[0].names) or [pictures[0].image_id]
    raise errors.UserError(
      f'{store.path} must contain the pictures of the captions, but has none '
      f'of {len(pictures):,}: captions name the first {" or ".join(names)}, '
      f'the file names {", ".join(_first(store))}; check that they belong '
      'together' + (f' ({ambiguous})' if ambiguous else '')
    )
  missing = [p.image_id for p, key in zip(pictures, keys) if key is None]
  line = f'{count:,} of {len(pictures):,} pictures are in {store.path}'
  example, key = next(
    (p.image_id, key) for p, key in zip(pictures, keys) if key
  )
  if example != key:
    line += f', for example {example} as {key}'
  if missing:
    more = ', ...' if len(missing) > _SHOWN else ''
    line += f'; missing are {", ".join(missing[:_SHOWN])}{more}'
  return Match(keys, rule, line)


def _tried(
  pictures: Sequence[Picture], store: Store, with_numbers: bool
) -> Iterator[tuple[str, list[str | None], str]]:
  """Yields each rule, the names that it finds, and why it cannot be used."""
  for form, change in _FORMS.items():
    if change is _number and not with_numbers:
      continue
    known: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    for key in store.names:
      changed = change(key)
      if changed is not None and known.setdefault(changed, key) != key:
        doubtful[changed] = key
    for position in range(max(len(p.names) for p in pictures)):
      rule = f'name {position + 1} of the captions, {form}'
      keys: list[str | None] = []
      fault = ''
      for picture in pictures:
        wanted = (
          change(picture.names[position])
          if position < len(picture.names)
          else None
        )
        found = None if wanted is None else known.get(wanted)
        if found is not None and wanted in doubtful:
          fault = f'{found} and {doubtful[wanted]} are {wanted} by {rule}'
          break
        keys.append(found)
      yield rule, keys, fault or _shared(pictures, keys, rule)


def _shared(
  pictures: Sequence[Picture], keys: list[str | None], rule: str
) -> str:
  """Returns why two pictures may not have the same features, or ''."""
  counts = collections.Counter(key for key in keys if key is not None)
  key, count = next(iter(counts.most_common(1)), ('', 0))
  if count < 2:
    return ''
  first, second, *_ = (p.image_id for p, x in zip(pictures, keys) if x == key)
  return f'{first} and {second} are {key} by {rule}'


def _first(store: Store) -> list[str]:
  return [name for name, _ in zip(store.names, range(_SHOWN))]
