"""What every reader of foil files returns: captions beside false sentences."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tagsdc_jax import errors

# Reasons why a record, or a part of it, is not scored; by their key in the
# results.
LEFT_OUT = {
  'no_text': 'without a caption or a foil',
  'equal': 'whose only foil is the caption itself',
  'invalid': 'that the annotators did not find valid',
  'no_area': 'with a box without an area',
  'no_sentence': 'whose change makes no sentence',
}
_NAMED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
  """A part of a picture, in its pixels.

  Attributes:
    x, y: the upper left corner.
    width, height: its size.
    picture_width, picture_height: of the whole picture; 0 if unknown.
  """

  x: float
  y: float
  width: float
  height: float
  picture_width: float = 0.0
  picture_height: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
  """One test: captions that are true of a picture, and foils that are not.

  Attributes:
    item_id: unique within its file.
    kind: the row of the results that it counts in.
    captions: one or two; in FOIL's files perhaps none.
    foils: at least one; in FOIL's files perhaps none.
    names: what a data set may call the picture, the likeliest first.
    box: the part of the picture that the sentences are about; None: all.
    other_names: of a second picture that the foil is true of, and the caption
      is not; empty if there is none.
    detail: a finer kind, for a mean over them; may be empty.
    swaps: (foil word, caption's word) of each foil; empty if unknown.
  """

  item_id: str
  kind: str
  captions: tuple[str, ...]
  foils: tuple[str, ...]
  names: tuple[str, ...]
  box: Box | None = None
  other_names: tuple[str, ...] = ()
  detail: str = ''
  swaps: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class FoilFile:
  """The items of a file.

  Attributes:
    path: the file, as the user named it.
    family: the benchmark, or the shape, e.g. "SugarCrepe".
    items: in the order of the file, at least one.
    left_out: number of records that are not scored, by LEFT_OUT.
    remarks: sentences on what else was noticed.
  """

  path: str
  family: str
  items: Sequence[Item]
  left_out: dict[str, int] = dataclasses.field(default_factory=dict)
  remarks: Sequence[str] = ()


class Collector:
  """Collects the items of a file, and what is left out of it."""

  def __init__(self, path: Path | str, family: str) -> None:
    self._path, self._family = str(path), family
    self._items: list[Item] = []
    self._left_out: collections.Counter[str] = collections.Counter()
    # By what is wrong with them: ids.
    self._equal: list[str] = []
    self._doubtful: list[str] = []
    self._remarks: list[str] = []

  def add(self, item: Item) -> None:
    """Adds an item, without foils that are one of its captions.

    Such a foil cannot be told from the caption: the two have the same score.
    """
    if item.box and min(item.box.width, item.box.height) <= 0:
      self.leave_out('no_area')
      return
    own = {_plain(text) for text in item.captions}
    is_equal = [_plain(text) in own for text in item.foils]
    if item.captions and item.foils and all(is_equal):
      self.leave_out('equal')
      self._equal.append(item.item_id)
      return
    if any(is_equal):
      self._doubtful.append(item.item_id)
      kept = [place for place, equal in enumerate(is_equal) if not equal]
      item = dataclasses.replace(
        item,
        foils=tuple(item.foils[place] for place in kept),
        swaps=tuple(item.swaps[place] for place in kept if item.swaps),
      )
    self._items.append(item)

  def leave_out(self, reason: str) -> None:
    """Counts a record under one of LEFT_OUT."""
    self._left_out[reason] += 1

  def remark(self, sentence: str) -> None:
    """Adds a sentence on what was noticed."""
    self._remarks.append(sentence)

  def file(self) -> FoilFile:
    """Returns what was collected.

    Raises:
      UserError: if there is no item.
    """
    if not self._items:
      raise errors.UserError(
        f'{self._path}: expected captions with foils ({self._family}), got '
        + (
          ', '.join(
            f'{count:,} {LEFT_OUT[reason]}'
            for reason, count in self._left_out.items()
          )
          or 'none'
        )
      )
    remarks = list(self._remarks)
    for ids, what in (
      (self._equal, 'have no foil but their own caption and are left out'),
      (self._doubtful, 'have their caption among the foils, which is left out'),
    ):
      if ids:
        more = ', ...' if len(ids) > _NAMED else ''
        remarks.append(
          f'{len(ids):,} items {what}: {", ".join(ids[:_NAMED])}{more}'
        )
    return FoilFile(
      self._path, self._family, self._items, dict(self._left_out), remarks
    )


def _plain(text: str) -> str:
  return ' '.join(text.split())
