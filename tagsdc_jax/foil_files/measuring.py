"""Counts how often captions outscore their foils, by kind.

A tie is wrong: a matcher that cannot tell the two apart has not passed.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from tagsdc_jax.evaluation import blind, foils
from tagsdc_jax.foil_files.records import Item

_WORD = re.compile(r'\w+')


@dataclasses.dataclass(frozen=True)
class Scored:
  """An item with its scores.

  Attributes:
    item: what was scored.
    captions: float32 [captions], of its captions with its picture.
    foils: float32 [foils], of its foils with its picture.
    others: of the caption and of the foil with the second picture; None if
      there is none.
    is_unseen: whether no picture of it is of the training split; None if that
      is unknown.
    fluency: of its captions and of its foils without the picture, the mean
      log-probability of a word; None if it was not measured.
    found: for each foil, whether word discrimination finds the foil word; None
      where that is unknown.
    mended: for each foil, whether word correction restores the caption's word.
    picture: name of its picture, the same for all items about it.
  """

  item: Item
  captions: np.ndarray
  foils: np.ndarray
  others: tuple[float, float] | None = None
  is_unseen: bool | None = None
  fluency: tuple[np.ndarray, np.ndarray] | None = None
  found: Sequence[bool | None] = ()
  mended: Sequence[bool | None] = ()
  picture: str = ''

  @property
  def margin(self) -> float:
    """By how much the lowest caption outscores the highest foil.

    Of two captions and two pictures, the lowest margin of the four comparisons.
    """
    if self.others is None:
      return float(np.min(self.captions) - np.max(self.foils))
    return min(_text_margin(self), _image_margin(self))


def same_words(item: Item) -> bool:
  """Returns whether every foil holds the words of a caption, in any order.

  Case and punctuation are ignored.
  """
  bags = [_bag(caption) for caption in item.captions]
  return bool(bags and item.foils) and all(
    _bag(foil) in bags for foil in item.foils
  )


def _bag(text: str) -> collections.Counter[str]:
  return collections.Counter(_WORD.findall(text.lower()))


def share(is_right: Sequence[bool] | np.ndarray) -> dict[str, Any]:
  """Returns the share of what is right, in percent.

  Returns:
    `count`, `right`, `accuracy`, and its 95 % Wilson interval, `low` to `high`;
    the last three are None if there is nothing.
  """
  count, right = len(is_right), int(np.sum(np.asarray(is_right, bool)))
  if not count:
    nothing = dict.fromkeys(('accuracy', 'low', 'high'))
    return {'count': 0, 'right': 0, **nothing}
  interval = stats.binomtest(right, count).proportion_ci(method='wilson')
  return {
    'count': count,
    'right': right,
    'accuracy': 100 * (right / count),
    'low': 100 * float(interval.low),
    'high': 100 * float(interval.high),
  }


def measure(scored: Sequence[Scored]) -> dict[str, Any]:
  """Returns the results of one benchmark.

  Args:
    scored: its items, at least one; those without a caption or without a foil
      only count in FOIL's tasks.
  Returns:
    `kinds`: kind -> row, in the order of the items; `all`: the row of all
    items; `mean`: the unweighted mean of the kinds with at least 100 items (of
    all, if none has as many); `tasks`: FOIL's, or None. See `_row`.
  """
  whole = [one for one in scored if one.item.captions and one.item.foils]
  kinds: dict[str, list[Scored]] = {}
  for one in whole:
    kinds.setdefault(one.item.kind, []).append(one)
  blind_words = _bag_of_words(whole)
  rows = {
    kind: _row(members, blind_words.get(kind))
    for kind, members in kinds.items()
  }
  return {
    'kinds': rows,
    'all': _row(whole, blind_words.get('all')) if whole else None,
    'mean': _mean(rows),
    'tasks': _tasks(scored),
  }


def _row(scored: Sequence[Scored], blind_words: float | None) -> dict[str, Any]:
  """Returns the results of some items.

  Returns:
    `count`, `accuracy`, `low`, `high`: of items whose every caption outscores
    every foil; of two captions and two pictures, Winoground's group score, with
    `text` and `image` beside it.
    `ties`: items that fail by a tie alone. `chance`: the accuracy of random
    scores.
    `pairs`: the same by pairs of a caption and a foil, if items have several.
    `details`: mean over the finer kinds, if items have them.
    `at_half`: items with all captions above a probability of 0.5 and all foils
    below; `captions_above` and `foils_below` are the shares of each.
    `same_words`, `unseen`: of the items with the same words in caption and
    foil, and of those with pictures outside the training split; None if that is
    unknown.
    `blind`: without the picture; `words`, a bag of words, and `fluency`, the
    network's own language head, in percent; None if not measured.
  """
  margins = np.array([one.margin for one in scored])
  is_right = margins > 0
  is_quad = scored[0].others is not None
  row: dict[str, Any] = share(is_right) | {
    'ties': int(np.sum(margins == 0)),
    'chance': _percent([_chance(one) for one in scored]),
  }
  if is_quad:
    row['text'] = share([_text_margin(one) > 0 for one in scored])
    row['image'] = share([_image_margin(one) > 0 for one in scored])
  if any(len(one.captions) * len(one.foils) > 1 for one in scored):
    row['pairs'] = share(
      np.concatenate(
        [np.greater.outer(one.captions, one.foils).ravel() for one in scored]
      )
    )
  details: dict[str, list[bool]] = {}
  for one, right in zip(scored, is_right, strict=True):
    if one.item.detail:
      details.setdefault(one.item.detail, []).append(bool(right))
  if details:
    row['details'] = {
      'count': len(details),
      'accuracy': 100 * float(np.mean([np.mean(x) for x in details.values()])),
    }
  if not is_quad:
    row['at_half'] = share(
      [np.min(one.captions) > 0 > np.max(one.foils) for one in scored]
    )
    row['captions_above'] = _percent([x > 0 for x in _joined(scored, True)])
    row['foils_below'] = _percent([x < 0 for x in _joined(scored, False)])
  is_same = np.array([same_words(one.item) for one in scored])
  row['same_words'] = share(is_right[is_same])
  is_known = all(one.is_unseen is not None for one in scored)
  row['unseen'] = (
    share(is_right[np.array([bool(one.is_unseen) for one in scored])])
    if is_known
    else None
  )
  row['blind'] = {'words': blind_words, 'fluency': _fluency(scored)}
  return row


def _chance(one: Scored) -> float:
  """Returns the probability that random scores are right."""
  if one.others is not None:
    # Of the 24 orders of four scores, those with both captions' own first.
    return 1 / 6
  # All captions before all foils.
  return 1 / math.comb(len(one.captions) + len(one.foils), len(one.foils))


def _text_margin(one: Scored) -> float:
  """Returns by how much each picture prefers its own caption."""
  caption, foil = one.others or (0.0, 0.0)
  return float(min(one.captions[0] - one.foils[0], foil - caption))


def _image_margin(one: Scored) -> float:
  """Returns by how much each caption prefers its own picture."""
  caption, foil = one.others or (0.0, 0.0)
  return float(min(one.captions[0] - caption, foil - one.foils[0]))


def _joined(scored: Sequence[Scored], is_caption: bool) -> np.ndarray:
  return np.concatenate(
    [one.captions if is_caption else one.foils for one in scored]
  )


def _percent(values: Sequence[Any]) -> float:
  return 100 * float(np.mean(values))


def _fluency(scored: Sequence[Scored]) -> float | None:
  """Returns how often captions are more fluent than foils, in percent."""
  if any(one.fluency is None or one.others is not None for one in scored):
    return None
  return _percent(
    [
      np.min(one.fluency[0]) > np.max(one.fluency[1])
      for one in scored
      if one.fluency is not None
    ]
  )


def _bag_of_words(scored: Sequence[Scored]) -> dict[str, float]:
  """Returns the accuracy of a bag of words by kind, and as `all`.

  A caption of two is true of one of the pictures, as the foil is: there is
  nothing to learn.
  """
  if any(one.others is not None for one in scored):
    return {}
  pairs = [
    (caption, foil, one.item.kind, one.picture)
    for one in scored
    for caption in one.item.captions
    for foil in one.item.foils
  ]
  if not pairs:
    return {}
  captions, false, kinds, groups = zip(*pairs)
  return blind.bag_of_words(captions, false, kinds, groups)


def _mean(rows: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
  if not rows:
    return None
  large = [kind for kind in rows if rows[kind]['count'] >= foils.MIN_FOILS]
  kept = {kind: rows[kind] for kind in large or rows}
  return {
    'kinds': list(kept),
    'accuracy': 100
    * float(np.mean([row['right'] / row['count'] for row in kept.values()])),
  }


def _tasks(scored: Sequence[Scored]) -> dict[str, Any] | None:
  """Returns FOIL's three tasks; None without foils that name their word.

  Returns:
    `classify`: sentences with the right sign of their score, i.e. a probability
    above or below 0.5; also of `captions` and of `foils` alone. `find`: foils
    whose foil word has the highest probability of being wrong. `mend`: foils
    whose foil word is corrected to the caption's. The last two are None without
    the heads of stage 2; `unknown` counts the foils that they leave out.
  """
  named = [one for one in scored if one.item.swaps]
  if not named:
    return None
  captions, false = _joined(scored, True) > 0, _joined(scored, False) < 0
  found = [x for one in named for x in one.found]
  mended = [x for one in named for x in one.mended]
  return {
    'classify': share(np.concatenate([captions, false]))
    | {'captions': share(captions), 'foils': share(false)},
    'find': share([x for x in found if x is not None]) if found else None,
    'mend': share([x for x in mended if x is not None]) if mended else None,
    'unknown': sum(x is None for x in found),
  }
