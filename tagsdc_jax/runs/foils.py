"""Scores foil files with a trained network, and counts the results."""

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.foil_files import measuring, records
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import foil_pictures, foil_reading, foil_sentences
from tagsdc_jax.runs.foil_reading import Judged, Network, Pair
from tagsdc_jax.runtime import memory

_SHOWN = 5
# Why items are not scored, by their key in the results.
REASONS = {
  foil_pictures.NO_PICTURE: 'have no picture in the data',
  foil_pictures.NO_SIZE: 'have a box in a picture whose size is unknown',
  foil_pictures.NO_AREA: 'have a box outside their picture',
  foil_sentences.TOO_LONG: "have a sentence beyond the network's positions",
  foil_sentences.NO_TOKENS: 'have a sentence without tokens',
  foil_sentences.SPECIAL: 'have a sentence with special tokens',
}


@dataclasses.dataclass(frozen=True)
class Ready:
  """An item that can be scored.

  Attributes:
    item: the item.
    image: number of its picture.
    other: of the second picture; None if there is none.
  """

  item: records.Item
  image: int
  other: int | None

  def pairs(self) -> list[Pair]:
    """Returns its sentences with its pictures."""
    return [
      Pair(text, image)
      for image in (self.image, self.other)
      if image is not None
      for text in (*self.item.captions, *self.item.foils)
    ]


@dataclasses.dataclass
class Benchmark:
  """The files of one family.

  Attributes:
    family: its name.
    files: as read.
    ready: items that can be scored.
    dropped: why others are not -> how many, and some examples.
    scored: `ready` with scores.
  """

  family: str
  files: list[records.FoilFile] = dataclasses.field(default_factory=list)
  ready: list[Ready] = dataclasses.field(default_factory=list)
  dropped: dict[str, tuple[int, list[str]]] = dataclasses.field(
    default_factory=dict
  )
  scored: list[measuring.Scored] = dataclasses.field(default_factory=list)

  def drop(self, reason: str, example: str) -> None:
    """Counts an item that is not scored."""
    count, shown = self.dropped.get(reason, (0, []))
    if len(shown) < _SHOWN and example not in shown:
      shown = [*shown, example]
    self.dropped[reason] = count + 1, shown


def evaluate(
  files: Sequence[records.FoilFile],
  shelf: foil_pictures.Shelf,
  network: Network,
  *,
  with_fluency: bool = True,
) -> tuple[dict[str, Any], list[Benchmark]]:
  """Scores foil files.

  All processes must call it with the same arguments; they divide the pairs.

  Args:
    files: at least one.
    shelf: the pictures; those that are needed are added.
    network: what scores.
    with_fluency: whether to read the sentences without pictures as well, once
      for every word.
  Returns:
    the results, and the scored items. Results are `benchmarks`, see `_results`;
    `data`, names of the splits; `pictures` and `pairs`, how many were scored;
    `unknown_words`, see `foil_sentences.Sentences.about`; `phase`, `precision`,
    and `seconds`, including compilation.
  Raises:
    UserError: if nothing can be scored, or a score is not finite.
  """
  start = time.perf_counter()
  vocabulary = shelf.first.vocabulary
  sentences = foil_sentences.Sentences(
    vocabulary, network.settings.model.max_positions - 2
  )
  benchmarks = prepare(files, shelf, sentences)
  ready = [item for one in benchmarks for item in one.ready]
  if not ready:
    raise _nothing(benchmarks, shelf)
  data = shelf.data()
  pairs = [pair for item in ready for pair in item.pairs()]
  swapped = [
    (item.item, number, item.image)
    for item in ready
    for number in range(len(item.item.swaps))
  ]
  with memory.explained(network.settings, memory.SCORING, network.devices):
    scores = foil_reading.score(network, data, sentences, pairs)
    fluent = (
      foil_reading.read_fluency(
        network, sentences, vocabulary, [pair.text for pair in pairs]
      )
      if with_fluency
      else {}
    )
    judged = iter(
      foil_reading.read_words(network, data, sentences, swapped)
      if swapped and network.phase == 'dc'
      else ()
    )
  places = shelf.places()
  unseen = [shelf.is_unseen(place) for place in places]
  for one in benchmarks:
    one.scored = [
      _scored(
        item,
        scores,
        fluent,
        # In the order of `swapped`; empty before stage 2.
        list(itertools.islice(judged, len(item.item.swaps))),
        unseen,
        data.image_ids[item.image],
      )
      for item in one.ready
    ]
  results = {
    'benchmarks': [_results(one, places) for one in benchmarks],
    'data': shelf.name,
    'pictures': len(set(places)),
    'pairs': len(scores),
    'unknown_words': sentences.about(),
    'phase': network.phase,
    'precision': retrieval.precision(network.model),
    'seconds': time.perf_counter() - start,
  }
  return results, benchmarks


def prepare(
  files: Sequence[records.FoilFile],
  shelf: foil_pictures.Shelf,
  sentences: foil_sentences.Sentences,
) -> list[Benchmark]:
  """Returns the benchmarks with the items that have pictures and tokens."""
  families: dict[str, Benchmark] = {}
  for file in files:
    own = families.setdefault(file.family, Benchmark(file.family))
    own.files.append(file)
    for item in file.items:
      image = shelf.find(item.names, item.box)
      other = shelf.find(item.other_names) if item.other_names else None
      if isinstance(image, str) or isinstance(other, str):
        reason = image if isinstance(image, str) else str(other)
        names = item.names if isinstance(image, str) else item.other_names
        own.drop(reason, next(iter(names), item.item_id))
        continue
      fault = sentences.fault_of((*item.captions, *item.foils))
      if fault is not None:
        own.drop(fault, item.item_id)
        continue
      own.ready.append(Ready(item, image, other))
  return list(families.values())


def _nothing(
  benchmarks: Sequence[Benchmark], shelf: foil_pictures.Shelf
) -> errors.UserError:
  lines = [
    f'{count:,} items of {one.family} {REASONS[reason]}, such as {shown[0]}'
    for one in benchmarks
    for reason, (count, shown) in one.dropped.items()
  ]
  return errors.UserError(
    f'no item can be scored with {shelf.name}, where a picture is called '
    f'{shelf.example}: {"; ".join(lines)}; pass the data that has their '
    'pictures as --data'
  )


def _scored(
  ready: Ready,
  scores: Mapping[Pair, np.float32],
  fluent: Mapping[str, float],
  judged: Sequence[Judged],
  unseen: Sequence[bool | None],
  picture: str,
) -> measuring.Scored:
  item = ready.item

  def of(image: int, texts: Sequence[str]) -> np.ndarray:
    return np.array([scores[Pair(text, image)] for text in texts], np.float32)

  images = [x for x in (ready.image, ready.other) if x is not None]
  known = [unseen[image] for image in images]
  return measuring.Scored(
    item,
    of(ready.image, item.captions),
    of(ready.image, item.foils),
    others=None
    if ready.other is None
    else (
      float(scores[Pair(item.captions[0], ready.other)]),
      float(scores[Pair(item.foils[0], ready.other)]),
    ),
    is_unseen=None if None in known else all(known),
    fluency=(
      np.array([fluent[text] for text in item.captions]),
      np.array([fluent[text] for text in item.foils]),
    )
    if fluent
    else None,
    found=[one.is_found for one in judged],
    mended=[one.is_mended for one in judged],
    picture=picture,
  )


def _results(one: Benchmark, places: Sequence[Any]) -> dict[str, Any]:
  """Returns the results of a benchmark.

  Returns:
    `measuring.measure`'s, without scored items only its other keys; `family`;
    `files`; `items`, how many there are; `left_out`, records that are no items,
    by their reason in `records.LEFT_OUT`; `not_scored`, items by their reason
    in REASONS, each with `count` and `first`; `splits`, the pictures of each
    split; `remarks`.
  """
  left_out: Counter[str] = Counter()
  for file in one.files:
    left_out.update(file.left_out)
  used = {
    places[image]
    for item in one.ready
    for image in (item.image, item.other)
    if image is not None
  }
  return {
    'family': one.family,
    'files': [file.path for file in one.files],
    'items': sum(len(file.items) for file in one.files),
    'left_out': dict(left_out),
    'not_scored': {
      reason: {'count': count, 'first': shown}
      for reason, (count, shown) in one.dropped.items()
    },
    'splits': dict(Counter(place.split for place in used)),
    'remarks': [
      remark if len(one.files) == 1 else f'{file.path}: {remark}'
      for file in one.files
      for remark in file.remarks
    ],
    **measuring.measure(one.scored),
  }
