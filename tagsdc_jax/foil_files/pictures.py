"""Finds the pictures of foil files in the splits of a data set.

Names are compared as they are, then without folder and suffix, then by number.
A number means nothing without the collection that it is from: picture 3968 of
Visual Genome is not COCO's. So a number is used only if both sides are of one
collection, by their prefix, folder or form. COCO's val2017 and val2014 have the
same numbers.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tagsdc_jax.preparing.regions import matching

# What a name says of its collection; the last parts of the name are searched.
_COLLECTIONS = {
  'coco': re.compile(
    r'(^|/)(coco_(train|val|test)\d{4}_|(train|val|test)20(14|17)/|coco_)',
    re.IGNORECASE,
  ),
  'genome': re.compile(
    r'(^|/)(vg_|v7w_|VG_100K(_2)?/|vg[\w-]*images[\w-]*/)', re.IGNORECASE
  ),
  'flickr30k': re.compile(r'(^|/)flickr30k[\w-]*[_/]', re.IGNORECASE),
}
_VISUAL7W = re.compile(r'^v7w_', re.IGNORECASE)
_DIGITS = re.compile(r'[0-9]{1,18}')
# COCO fills its numbers up to twelve digits.
_COCO_DIGITS = 12
# Numbers alone are taken for those of the first collection that has room for
# the largest. Such collections are sparse; who numbers own pictures leaves no
# gaps.
_LARGEST = {'coco': 581_929, 'genome': 2_417_997, 'flickr30k': 10**11}
_LEAST, _DENSITY = 10_000, 0.3
_PLAIN = 'number'
# Splits in the order in which a picture of several is looked for.
_ORDER = ('test', 'validation', 'train')

Form = tuple[str, str]


class Place(NamedTuple):
  """A picture of a data set."""

  split: str
  number: int


class Index:
  """Finds pictures of a data set by the names that files give them."""

  def __init__(self, splits: Mapping[str, Sequence[str]]) -> None:
    """Uses the splits' image ids.

    Args:
      splits: name -> image ids. A picture of several splits is found in the one
        that is furthest from training: test, then validation.
    """
    self._plain = _plain_collection(
      [image_id for ids in splits.values() for image_id in ids]
    )
    self._known: dict[Form, Place] = {}
    self._doubtful: set[Form] = set()
    ids: dict[Form, str] = {}
    order = [*_ORDER, *splits]
    for split in sorted(splits, key=order.index):
      for number, image_id in enumerate(splits[split]):
        for form in _forms(image_id, self._plain):
          if ids.setdefault(form, image_id) != image_id:
            self._doubtful.add(form)
          self._known.setdefault(form, Place(split, number))

  def find(self, names: Sequence[str]) -> Place | None:
    """Returns the picture that any of the names means; None if there is none.

    A name that could be two pictures finds none.
    """
    forms = [_forms(name, self._plain) for name in names]
    for kinds in itertools.zip_longest(*forms):
      for form in kinds:
        if form in self._known and form not in self._doubtful:
          return self._known[form]
    return None


def _forms(name: str, plain: str) -> list[Form]:
  """Returns what to compare a name by, the most literal first."""
  number = _number(name)
  if number is None:
    return [('name', name), ('stem', matching.stem(name))]
  return [('name', name), (_collection(name) or plain, number)]


def _number(name: str) -> str | None:
  """Returns the number that a name is but for the name of its collection."""
  bare = _VISUAL7W.sub('', matching.bare(name))
  return str(int(bare)) if _DIGITS.fullmatch(bare) else None


def _collection(name: str) -> str:
  """Returns the collection that a name says it is from; '' if it does not."""
  if len(matching.stem(name)) == _COCO_DIGITS:
    return 'coco'
  return next(
    (key for key, pattern in _COLLECTIONS.items() if pattern.search(name)), ''
  )


def _plain_collection(image_ids: Sequence[str]) -> str:
  """Returns the collection that numbers alone are taken for."""
  found = {one: _number(one) for one in image_ids}
  named = {_collection(one) for one, number in found.items() if number}
  if named and '' not in named:
    return named.pop() if len(named) == 1 else _PLAIN
  numbers = {
    int(number)
    for one, number in found.items()
    if number and not _collection(one)
  }
  most = max(numbers, default=0)
  if most < _LEAST or len(numbers) > _DENSITY * most:
    return _PLAIN
  return next(
    (name for name, largest in _LARGEST.items() if most <= largest), _PLAIN
  )
