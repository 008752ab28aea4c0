"""The content of the page of a file of negatives, and how it is read.

The numbers are those of the quality card in the file's header. Any of them may
be missing or damaged: it is left out then.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tagsdc_jax.negative_files import card as cards
from tagsdc_jax.reporting.page import content, tables

# Larger counts are damaged.
_MOST = 1 << 53


@dataclasses.dataclass(frozen=True)
class Row:
  """Numbers of the negatives of a kind, or of all; None if unknown.

  Attributes:
    name: "all" or the kind.
    count: how many.
    pairs: of how many the medians and `blind_words` are.
    head_pairs: of how many `blind_head` is.
    above: percentage that scores higher than the caption.
    difference: median score, less that of the caption.
    probability: mean probability to be true, in percent.
    restored: percentage whose corrected sentence is the caption.
    fluency: median log-probability of the least likely word near the edits.
    blind_words, blind_head: how often a bag of words, and the language head
      without the picture, prefer the caption, in percent.
  """

  name: str
  count: int
  pairs: int = 0
  head_pairs: int = 0
  above: float | None = None
  difference: float | None = None
  probability: float | None = None
  restored: float | None = None
  fluency: float | None = None
  blind_words: float | None = None
  blind_head: float | None = None


@dataclasses.dataclass(frozen=True)
class Histogram:
  """Percentages of one or several series in the bars between edges."""

  edges: Sequence[float]
  series: Mapping[str, Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Numbers:
  """A quality card.

  Attributes:
    captions, negatives: how many.
    without: captions without negatives.
    sampled: pairs that the distributions were made of.
    kept: negatives of a caption -> captions.
    dropped: reason -> candidates, the most first.
    sources: name -> negatives.
    all: of all negatives.
    kinds: of each kind.
    quantiles: "captions", "negatives", "difference" -> scores, at
      `cards.QUANTILES`.
    scores: of captions and negatives; None without any.
    difference: of the negatives, less those of their captions.
    duplicates: what is equal -> negatives.
    lengths: "captions", "negatives" -> mean number of words; "shorter",
      "longer" -> percentage of negatives.
    edits: number of edits -> percentage of negatives.
    replacements: kind -> (old, new, percentage of the edits), the most first.
  """

  captions: int = 0
  negatives: int = 0
  without: int = 0
  sampled: int = 0
  kept: Mapping[int, int] = dataclasses.field(default_factory=dict)
  dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
  sources: Mapping[str, int] = dataclasses.field(default_factory=dict)
  all: Row = Row('all', 0)
  kinds: Sequence[Row] = ()
  quantiles: Mapping[str, Sequence[float]] = dataclasses.field(
    default_factory=dict
  )
  scores: Histogram | None = None
  difference: Histogram | None = None
  duplicates: Mapping[str, int] = dataclasses.field(default_factory=dict)
  lengths: Mapping[str, float] = dataclasses.field(default_factory=dict)
  edits: Mapping[int, float] = dataclasses.field(default_factory=dict)
  replacements: Mapping[str, Sequence[tuple[str, str, float]]] = (
    dataclasses.field(default_factory=dict)
  )


@dataclasses.dataclass(frozen=True)
class Calibration:
  """How well probabilities hold on sentences that they were not fitted to.

  Attributes:
    points: (predicted, observed, sentences) of each bin; probabilities.
    max_true: sentences above it were dropped; None if it is unknown.
    ece: expected calibration error; None if unknown.
    auc: how often a true sentence has a higher one than a false; None if
      unknown.
    split: that the sentences are of; may be empty.
    sentences: "true", "generated", "retrieved" -> how many, with those that
      the probabilities were fitted to.
  """

  points: Sequence[tuple[float, float, int]]
  max_true: float | None = None
  ece: float | None = None
  auc: float | None = None
  split: str = ''
  sentences: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Piece:
  """A stretch of a sentence.

  Attributes:
    text: the characters, spaces included.
    kind: of the edit that it is part of; empty: of none.
    replaced: probability to be wrong; None if unknown.
  """

  text: str
  kind: str = ''
  replaced: float | None = None


@dataclasses.dataclass(frozen=True)
class Example:
  """A negative beside its caption.

  Attributes:
    picture: that the caption is true of.
    caption_id: of the caption.
    caption: with its edited characters marked.
    score, probability: of the caption; the latter may be unknown.
    kind, source: of the negative.
    negative: with its edited characters marked, and probabilities of words.
    negative_score, negative_probability: of the negative.
    words: the words that were read, if they are not those of the text.
    corrected: the corrected sentence; None if there is none.
    is_restored: whether it is the caption.
    remarks: phrases on what the negative equals.
  """

  picture: content.Picture
  caption_id: str
  caption: Sequence[Piece]
  score: float
  probability: float | None
  kind: str
  source: str
  negative: Sequence[Piece]
  negative_score: float
  negative_probability: float | None
  words: Sequence[Piece] = ()
  corrected: str | None = None
  is_restored: bool = False
  remarks: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Page:
  """Everything on the page.

  Attributes:
    name: of the data.
    numbers: the card.
    calibration: None if there is none.
    examples: hardest first.
    has_photos: whether pictures are shown.
    networks, data, settings: name -> value, how the file was made.
  """

  name: str
  numbers: Numbers
  calibration: Calibration | None = None
  examples: Sequence[Example] = ()
  has_photos: bool = True
  networks: Mapping[str, str] = dataclasses.field(default_factory=dict)
  data: Mapping[str, str] = dataclasses.field(default_factory=dict)
  settings: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read_numbers(card: Any) -> Numbers:
  """Returns the numbers of a card, as far as they can be read.

  Args:
    card: from `negative_files.card`, perhaps through a file.
  """
  card = part(card)
  histograms = part(part(card, 'scores'), 'histograms')
  lengths = part(card, 'lengths')
  return Numbers(
    captions=_whole(card, 'captions'),
    negatives=_whole(card, 'negatives'),
    without=_whole(card, 'without'),
    sampled=_whole(card, 'sampled'),
    kept=_by_number(_counts(part(card, 'kept'))),
    dropped=_counts(part(card, 'dropped')),
    sources=_counts(part(card, 'sources')),
    all=_row('all', part(card, 'all')),
    kinds=[
      _row(str(kind), part(row))
      for kind, row in part(card, 'kinds').items()
      if isinstance(row, Mapping)
    ],
    quantiles={
      name: values
      for name in ('captions', 'negatives', 'difference')
      if (values := _quantiles(part(part(card, 'scores'), name)))
    },
    scores=_histogram(part(histograms, 'scores'), ('captions', 'negatives')),
    difference=_histogram(part(histograms, 'difference'), ('negatives',)),
    duplicates=_counts(part(card, 'duplicates')),
    lengths=_finite(lengths),
    edits=_by_number(_finite(part(lengths, 'edits'))),
    replacements={
      str(kind): found
      for kind, listed in part(card, 'replacements').items()
      if (found := _replacements(listed))
    },
  )


def read_calibration(fields: Any) -> Calibration | None:
  """Returns a header's calibration; None if there is none to show."""
  fields = part(fields)
  bins = fields.get('bins')
  points = []
  for one in bins if isinstance(bins, Sequence) else ():
    predicted, observed, count = (
      tables.value_of(part(one), key)
      for key in ('predicted', 'observed', 'count')
    )
    if predicted is not None and observed is not None:
      points.append((predicted, observed, int(count or 0)))
  if not points:
    return None
  split = fields.get('split')
  return Calibration(
    points,
    tables.value_of(fields, 'max_true'),
    tables.value_of(fields, 'ece'),
    tables.value_of(fields, 'auc'),
    split if isinstance(split, str) else '',
    _counts(
      {key: fields.get(key) for key in ('true', 'generated', 'retrieved')}
    ),
  )


def part(fields: Any, *path: str) -> Mapping[str, Any]:
  """Returns fields[path[0]]...; empty if it is missing or no dict."""
  for key in path:
    fields = fields.get(key) if isinstance(fields, Mapping) else None
  return fields if isinstance(fields, Mapping) else {}


def _row(name: str, fields: Mapping[str, Any]) -> Row:
  counts = 'count', 'pairs', 'head_pairs'
  values: dict[str, Any] = {
    field.name: tables.value_of(fields, field.name)
    for field in dataclasses.fields(Row)
  }
  values |= {key: _whole(fields, key) for key in counts}
  return Row(**values | {'name': name})


def _whole(fields: Mapping[str, Any], key: str) -> int:
  return _counts({key: fields.get(key)}).get(key, 0)


def _finite(fields: Mapping[str, Any]) -> dict[str, float]:
  """Returns the numbers among the values."""
  return {
    str(key): value
    for key in fields
    if (value := tables.value_of(fields, key)) is not None
  }


def _counts(fields: Mapping[str, Any]) -> dict[str, int]:
  return {
    key: int(value)
    for key, value in _finite(fields).items()
    if 0 <= value <= _MOST
  }


def _by_number(fields: Mapping[str, Any]) -> dict[int, Any]:
  return {int(key): value for key, value in fields.items() if key.isdecimal()}


def _quantiles(fields: Mapping[str, Any]) -> list[float]:
  found = [tables.value_of(fields, str(one)) for one in cards.QUANTILES]
  return [one for one in found if one is not None] if None not in found else []


def _histogram(
  fields: Mapping[str, Any], names: Sequence[str]
) -> Histogram | None:
  edges, *series = (_numbers(fields.get(key)) for key in ('edges', *names))
  is_whole = all(len(one) == len(edges) - 1 > 0 for one in series)
  is_rising = all(low < high for low, high in zip(edges, edges[1:]))
  if not (is_whole and is_rising):
    return None
  return Histogram(edges, dict(zip(names, series, strict=True)))


def _numbers(values: Any) -> list[float]:
  """Returns a list of numbers; empty if it is none."""
  listed = values if isinstance(values, list) else []
  found = [tables.value_of({'value': one}, 'value') for one in listed]
  return [one for one in found if one is not None] if None not in found else []


def _replacements(listed: Any) -> list[tuple[str, str, float]]:
  found = []
  for one in listed if isinstance(listed, Sequence) else ():
    if isinstance(one, Sequence) and len(one) == 3:
      old, new, share = one
      percent = tables.value_of({'value': share}, 'value')
      if isinstance(old, str) and isinstance(new, str) and percent is not None:
        found.append((old, new, percent))
  return found
