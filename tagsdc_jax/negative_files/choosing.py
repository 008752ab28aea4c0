"""Chooses the negatives of a caption among its candidates.

Candidates that are no good negatives are dropped, each for the first reason
that applies; of the others the highest-scored are kept.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tagsdc_jax.data import trigrams, written_captions
from tagsdc_jax.data.dataset import Caption, Vocabulary
from tagsdc_jax.negative_files import records

# Why candidates are dropped, in this order. The last two depend on the others:
# another of the same phrase was chosen, or enough were.
REASONS = {
  'repeated': 'equal to another candidate or a caption, or not there',
  'maybe_true': 'probably true of the picture',
  'odd': 'not written like captions are',
  'unreadable': 'special tokens, or pieces that form no word',
  'same_phrase': 'enough others change the same phrase',
  'not_needed': 'enough were chosen',
}


@dataclasses.dataclass(frozen=True)
class Limits:
  """What is kept.

  Attributes:
    per_caption: most negatives of a caption.
    per_phrase: most that change the same phrase.
    is_balanced: whether kinds of edits take turns; else the highest-scored are
      kept, whatever they change.
    max_probability: of being true; None: any.
    min_fluency: None: any.
  """

  per_caption: int
  per_phrase: int
  is_balanced: bool
  max_probability: float | None
  min_fluency: float | None


@dataclasses.dataclass(frozen=True)
class Candidates:
  """The candidates of a caption.

  Attributes:
    token_ids: int [G, L], with [CLS], [SEP] and padding.
    num_tokens: int [G], with [CLS] and [SEP].
    is_valid: bool [G].
    scores: float [G], raw matching scores.
    probabilities: float [G], of being true; None without a calibration.
    sources: names, by candidate.
  """

  token_ids: np.ndarray
  num_tokens: np.ndarray
  is_valid: np.ndarray
  scores: np.ndarray
  probabilities: np.ndarray | None
  sources: Sequence[str]

  def sentence(self, number: int) -> np.ndarray:
    """Returns a candidate's tokens without [CLS] and [SEP]."""
    return self.token_ids[number, 1 : self.num_tokens[number] - 1]


@dataclasses.dataclass(frozen=True)
class Chosen:
  """A negative that was kept, and its tokens without [CLS] and [SEP]."""

  negative: records.Negative
  token_ids: np.ndarray


class Chooser:
  """Chooses negatives of the captions of a data set."""

  def __init__(
    self,
    limits: Limits,
    vocabulary: Vocabulary,
    language: trigrams.Model | None,
  ) -> None:
    """Uses limits.

    Args:
      limits: what is kept.
      vocabulary: with words.
      language: measures fluency; None: it is not measured.
    """
    self._limits, self._vocabulary, self._language = (
      limits,
      vocabulary,
      language,
    )
    self._writer = written_captions.Writer(vocabulary)

  def __call__(
    self, caption: Caption, others: Sequence[np.ndarray], candidates: Candidates
  ) -> tuple[written_captions.Written, list[Chosen], Mapping[str, int]]:
    """Returns a caption's text, its negatives, and what was dropped.

    Args:
      caption: with its phrases.
      others: token ids of the other captions of its picture.
      candidates: those of the caption.
    Returns:
      the caption as it was written; negatives, best first; and the number of
      candidates that were dropped for each of REASONS.
    """
    limits = self._limits
    written = self._writer.written(caption)
    is_left = candidates.is_valid.copy()
    dropped = Counter(repeated=int(np.sum(~is_left)))

    def drop(is_bad: np.ndarray, reason: str) -> None:
      dropped[reason] += int(np.sum(is_left & is_bad))
      is_left[is_bad] = False

    if limits.max_probability is not None:
      assert candidates.probabilities is not None
      drop(candidates.probabilities > limits.max_probability, 'maybe_true')
    fluency = self._fluency(caption, candidates, is_left)
    if limits.min_fluency is not None:
      drop(fluency < limits.min_fluency, 'odd')
    chosen: list[Chosen] = []
    used: Counter[int] = Counter()
    left = int(np.sum(is_left))
    for number, changes in self._in_turn(caption, candidates, is_left, chosen):
      phrases = _phrases_of(changes)
      left -= 1
      if any(used[phrase] >= limits.per_phrase for phrase in phrases):
        dropped['same_phrase'] += 1
        continue
      token_ids = candidates.sentence(number)
      text, edits = self._writer.edited(written, token_ids, changes)
      if not self._writer.is_readable(text, token_ids, changes):
        dropped['unreadable'] += 1
        continue
      used.update(phrases)
      probability = candidates.probabilities
      chosen.append(
        Chosen(
          records.Negative(
            text,
            float(candidates.scores[number]),
            candidates.sources[number],
            tuple(
              records.Edit(
                _kind(caption, change),
                start,
                end,
                written.text[start:end],
                new,
                new_start,
              )
              for change, (start, end, new_start, new) in zip(
                changes, edits, strict=True
              )
            ),
            None if probability is None else float(probability[number]),
            float(fluency[number]) if self._language else None,
            is_caption=any(np.array_equal(token_ids, x) for x in others),
            is_contained=any(_contains(x, token_ids) for x in others),
          ),
          token_ids,
        )
      )
      if len(chosen) == limits.per_caption:
        break
    dropped['not_needed'] = left
    return written, chosen, {x: dropped[x] for x in REASONS if dropped[x]}

  def _fluency(
    self, caption: Caption, candidates: Candidates, is_left: np.ndarray
  ) -> np.ndarray:
    """Returns the fluency of the candidates that are left, float [G]."""
    found = np.full(len(is_left), np.inf)
    if self._language is None:
      return found
    for length in np.unique(candidates.num_tokens[is_left]):
      rows = np.flatnonzero(is_left & (candidates.num_tokens == length))
      token_ids = candidates.token_ids[rows, 1 : length - 1]
      before = caption.token_ids
      is_changed = np.ones(token_ids.shape, bool)
      if len(before) == length - 2:
        is_changed = token_ids != before
      found[rows] = self._language.lowest_near(token_ids, is_changed)
    return found

  def _in_turn(
    self,
    caption: Caption,
    candidates: Candidates,
    is_left: np.ndarray,
    chosen: Sequence[Chosen],
  ) -> Iterator[tuple[int, list[written_captions.Change]]]:
    """Yields candidates, best first, or kinds of edits in turn.

    Args:
      chosen: those that were chosen so far; it grows meanwhile.
    """
    order = np.argsort(-candidates.scores, kind='stable')
    changed = (
      (
        int(i),
        written_captions.find_changes(
          caption, candidates.sentence(i), self._vocabulary
        ),
      )
      for i in order
      if is_left[i]
    )
    if not self._limits.is_balanced:
      yield from changed
      return
    queues: dict[str, list[tuple[int, list[written_captions.Change]]]] = {}
    for number, changes in changed:
      kind = records.joined_kind(_kind(caption, change) for change in changes)
      queues.setdefault(kind, []).append((number, changes))
    while queues:
      counts = Counter(one.negative.kind for one in chosen)
      kind = min(
        queues,
        key=lambda kind: (counts[kind], -candidates.scores[queues[kind][0][0]]),
      )
      yield queues[kind].pop(0)
      if not queues[kind]:
        del queues[kind]


def phrases_of(
  caption: Caption, written: written_captions.Written
) -> tuple[records.Phrase, ...]:
  """Returns the caption's phrases whose kind is known, as characters."""
  found = []
  for positions, kind in zip(
    caption.phrases, caption.phrase_kinds, strict=False
  ):
    if not kind:
      continue
    spans: list[tuple[int, int]] = []
    last = None
    for place in sorted(set(positions)):
      start, end = written.spans[place]
      if last is not None and place == last + 1:
        start = spans.pop()[0]
      spans.append((start, end))
      last = place
    found.append(records.Phrase(records.KINDS[kind - 1], tuple(spans)))
  return tuple(found)


def _kind(caption: Caption, change: written_captions.Change) -> str:
  if change.phrase < 0 or change.phrase >= len(caption.phrase_kinds):
    return records.TOKEN
  kind = caption.phrase_kinds[change.phrase]
  return records.KINDS[kind - 1] if kind else records.TOKEN


def _phrases_of(changes: Sequence[written_captions.Change]) -> set[int]:
  """Returns the phrases, and words that are in none as negative numbers."""
  return {
    change.phrase if change.phrase >= 0 else -1 - change.start
    for change in changes
  }


def _contains(sentence: np.ndarray, part: np.ndarray) -> bool:
  """Returns whether a sentence has the words of another next to each other."""
  room = len(sentence) - len(part) + 1
  return any(
    np.array_equal(sentence[i : i + len(part)], part) for i in range(room)
  )
