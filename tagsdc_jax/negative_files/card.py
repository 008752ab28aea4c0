"""The quality card of a file of negatives: what is in it, in numbers.

One pass, in memory that does not grow with the file. docs/negatives.md says
what every number means.
"""

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tagsdc_jax.evaluation import blind
from tagsdc_jax.negative_files import records, sampling

# In percent.
QUANTILES = (5, 25, 50, 75, 95)
NUM_EXAMPLES = 20
# Pairs of a caption and a negative, and captions, of which the distributions
# are made.
_NUM_SAMPLED = 50_000
_NUM_BARS, _NUM_REPLACEMENTS = 40, 10
# Beyond these quantiles, scores are in the first and in the last bar.
_ENDS = 0.005, 0.995
_SEED = 0


class _Pair(NamedTuple):
  """What the distributions need of a caption and one of its negatives."""

  image_id: str
  caption: str
  caption_score: float
  text: str
  score: float
  kind: str
  edits: tuple[records.Edit, ...]
  fluency: float | None

  @property
  def difference(self) -> float:
    """Score of the negative less that of the caption."""
    return self.score - self.caption_score


@dataclasses.dataclass
class _Counts:
  """Exact counts of negatives, of a kind or of all.

  Attributes:
    count: how many.
    above: how many score higher than their caption.
    calibrated: how many have a probability.
    probability: sum of their probabilities.
    corrected: how many have a corrected sentence.
    restored: of how many it is the caption.
  """

  count: int = 0
  above: int = 0
  calibrated: int = 0
  probability: float = 0.0
  corrected: int = 0
  restored: int = 0

  def add(self, record: records.Captioned, one: records.Negative) -> None:
    """Adds a negative of a caption."""
    self.count += 1
    self.above += one.score > record.score
    if one.probability is not None:
      self.calibrated += 1
      self.probability += one.probability
    if one.corrected is not None:
      self.corrected += 1
      self.restored += blind.words(one.corrected) == blind.words(record.text)

  def shares(self) -> dict[str, Any]:
    """Returns the count, and shares in percent; None where unknown."""
    return {
      'count': self.count,
      'above': _percent(self.above, self.count),
      'probability': _percent(self.probability, self.calibrated),
      'restored': _percent(self.restored, self.corrected),
    }


class Card:
  """Makes the card of captions that are added one by one, in order."""

  def __init__(self) -> None:
    self._captions = 0
    self._kept: Counter[int] = Counter()
    self._dropped: Counter[str] = Counter()
    self._sources: Counter[str] = Counter()
    self._kinds: dict[str, _Counts] = {}
    self._all = _Counts()
    self._flags: Counter[str] = Counter()
    self._texts = sampling.EqualTexts()
    self._scores = sampling.Reservoir[float](_NUM_SAMPLED, _SEED)
    self._pairs = sampling.Reservoir[_Pair](_NUM_SAMPLED, _SEED)
    self._examples = sampling.Reservoir[records.Captioned](NUM_EXAMPLES, _SEED)

  def add(self, record: records.Captioned) -> None:
    """Adds a caption with its negatives."""
    self._captions += 1
    self._kept[len(record.negatives)] += 1
    self._dropped.update(record.dropped)
    self._scores.add(record.score)
    self._texts.add_caption(record.text)
    for one in record.negatives:
      kind = one.kind
      self._sources[one.source] += 1
      self._all.add(record, one)
      self._kinds.setdefault(kind, _Counts()).add(record, one)
      self._flags['is_caption'] += one.is_caption
      self._flags['is_contained'] += one.is_contained
      self._texts.add_negative(one.text)
      self._pairs.add(
        _Pair(
          record.image_id,
          record.text,
          record.score,
          one.text,
          one.score,
          kind,
          one.edits,
          one.fluency,
        )
      )
      self._examples.add(
        dataclasses.replace(record, negatives=(one,), dropped={})
      )

  def sample(self, count: int) -> list[tuple[str, str, str]]:
    """Returns caption, negative and kind of a few pairs, for `blind_head`."""
    pairs = self._pairs.items
    # At random: equal steps would meet the same places of captions.
    places = np.sort(
      np.random.default_rng(_SEED).permutation(len(pairs))[:count]
    )
    return [
      (pair.caption, pair.text, pair.kind)
      for pair in map(pairs.__getitem__, places)
    ]

  def finish(
    self, blind_head: Mapping[str, float] | None = None, num_head: int = 0
  ) -> dict[str, Any]:
    """Returns the card, as it is when it was read from JSON.

    Args:
      blind_head: how often, in percent, the language head without the picture
        prefers the caption: 'all' and kinds; None if it was not measured.
      num_head: on how many pairs: those of `sample`.
    """
    pairs = self._pairs.items
    by_words = blind.bag_of_words(
      [pair.caption for pair in pairs],
      [pair.text for pair in pairs],
      [pair.kind for pair in pairs],
      [pair.image_id for pair in pairs],
    )
    by_head = dict(blind_head or {})
    read = Counter(kind for *_, kind in self.sample(num_head))
    return {
      'captions': self._captions,
      'negatives': self._all.count,
      'without': self._kept[0],
      'kept': {str(kept): self._kept[kept] for kept in sorted(self._kept)},
      'dropped': dict(self._dropped.most_common()),
      'sources': dict(self._sources.most_common()),
      'all': _row(
        self._all, pairs, by_words.get('all'), by_head.get('all'), read.total()
      ),
      'kinds': {
        kind: _row(
          self._kinds[kind],
          [pair for pair in pairs if pair.kind == kind],
          by_words.get(kind),
          by_head.get(kind),
          read[kind],
        )
        for kind in _in_order(self._kinds)
      },
      'scores': _scores(self._scores.items, pairs),
      'duplicates': {
        'is_caption': self._flags['is_caption'],
        'is_contained': self._flags['is_contained'],
        'repeated': self._texts.repeated(),
        'caption_of_file': self._texts.captions(),
        # Share of the sentences that the last two were counted on.
        'share': self._texts.share,
      },
      'lengths': _lengths(pairs),
      'replacements': _replacements(pairs),
      'sampled': len(pairs),
      'examples': [
        json.loads(records.to_line(one))
        for one in sorted(
          self._examples.items,
          # The names make the order of equal ones that of no sort.
          key=lambda one: (
            one.score - one.negatives[0].score,
            one.caption_id,
            one.negatives[0].text,
          ),
        )
      ],
    }


def make(file: Iterable[records.Captioned]) -> dict[str, Any]:
  """Returns the card of a file, without the language head's blind baseline."""
  card = Card()
  for record in file:
    card.add(record)
  return card.finish()


def _row(
  counts: _Counts,
  pairs: Sequence[_Pair],
  by_words: float | None,
  by_head: float | None,
  num_head: int,
) -> dict[str, Any]:
  """Returns the numbers of the negatives of a kind, or of all."""
  return counts.shares() | {
    'difference': _median(pair.difference for pair in pairs),
    'fluency': _median(
      pair.fluency for pair in pairs if pair.fluency is not None
    ),
    'pairs': len(pairs),
    'blind_words': by_words,
    'blind_head': by_head,
    'head_pairs': num_head,
  }


def _in_order(kinds: Iterable[str]) -> list[str]:
  known = (*records.KINDS, records.SEVERAL)
  return sorted(
    kinds,
    key=lambda kind: (known.index(kind) if kind in known else len(known), kind),
  )


def _scores(
  captions: Sequence[float], pairs: Sequence[_Pair]
) -> dict[str, Any]:
  """Returns the distributions of the scores."""
  negatives = [pair.score for pair in pairs]
  return {
    'captions': _quantiles(captions),
    'negatives': _quantiles(negatives),
    'difference': _quantiles([pair.difference for pair in pairs]),
    'histograms': {
      'scores': _histogram({'captions': captions, 'negatives': negatives}),
      'difference': _histogram(
        {'negatives': [pair.difference for pair in pairs]}
      ),
    },
  }


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
  """Returns percent -> quantile, None without values."""
  if not values:
    return None
  found = np.quantile(values, np.array(QUANTILES) / 100)
  return {
    str(percent): float(value)
    for percent, value in zip(QUANTILES, found, strict=True)
  }


def _histogram(
  values: Mapping[str, Sequence[float]],
) -> dict[str, list[float]] | None:
  """Returns the edges of bars and the percentage of each series in them."""
  together = np.concatenate([np.asarray(one, float) for one in values.values()])
  if not together.size:
    return None
  low, high = (float(x) for x in np.quantile(together, _ENDS))
  if low == high:
    low, high = low - 0.5, high + 0.5
  # So that no bar goes across 0.
  width = (high - low) / _NUM_BARS
  first, last = np.floor(low / width), np.ceil(high / width)
  edges = width * np.arange(first, last + 1)
  return {'edges': edges.tolist()} | {
    name: (
      np.histogram(np.clip(one, edges[0], edges[-1]), edges)[0]
      * (100 / max(1, len(one)))
    ).tolist()
    for name, one in values.items()
  }


def _lengths(pairs: Sequence[_Pair]) -> dict[str, Any]:
  """Returns numbers of words, and of edits, of the pairs."""
  captions = np.array([len(blind.words(pair.caption)) for pair in pairs], int)
  negatives = np.array([len(blind.words(pair.text)) for pair in pairs], int)
  edits = Counter(len(pair.edits) for pair in pairs)
  return {
    'captions': _mean(captions),
    'negatives': _mean(negatives),
    'shorter': _percent(int((negatives < captions).sum()), len(pairs)),
    'longer': _percent(int((negatives > captions).sum()), len(pairs)),
    'edits': {
      str(number): _percent(edits[number], len(pairs))
      for number in sorted(edits)
    },
  }


def _replacements(pairs: Sequence[_Pair]) -> dict[str, list[list[Any]]]:
  """Returns the most frequent (old, new, percent of the edits) by kind."""
  counts: dict[str, Counter[tuple[str, str]]] = {}
  for pair in pairs:
    for edit in pair.edits:
      counts.setdefault(edit.kind, Counter())[
        edit.old.lower(), edit.new.lower()
      ] += 1
  return {
    kind: [
      [old, new, _percent(count, counts[kind].total())]
      for (old, new), count in sorted(
        counts[kind].items(), key=lambda item: (-item[1], item[0])
      )[:_NUM_REPLACEMENTS]
    ]
    for kind in _in_order(counts)
  }


def _percent(part: float, whole: int) -> float | None:
  return 100 * part / whole if whole else None


def _mean(values: np.ndarray) -> float | None:
  return float(values.mean()) if values.size else None


def _median(values: Iterable[float]) -> float | None:
  listed = list(values)
  return statistics.median(listed) if listed else None
