"""A trigram model of captions: is a sentence written like captions are?

Probabilities of Witten and Bell (1991): those of trigrams, bigrams and single
words are interpolated, longer ones weigh more the more often their beginning
was seen. Counts are sorted arrays, a few bytes per caption word.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from tagsdc_jax.data import dataset


@dataclasses.dataclass(frozen=True)
class _Counts:
  """Counts of sequences of one length; keys are sorted."""

  keys: np.ndarray  # int64, sequences as numbers.
  counts: np.ndarray

  def of(self, keys: np.ndarray) -> np.ndarray:
    places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
    return np.where(self.keys[places] == keys, self.counts[places], 0)


class Model:
  """Log-probabilities of the words of sentences."""

  def __init__(
    self, sentences: Sequence[np.ndarray], vocabulary: dataset.Vocabulary
  ) -> None:
    """Counts the words of sentences.

    Args:
      sentences: token ids of each, without [CLS] and [SEP]; at least one.
      vocabulary: of them.
    """
    self._size = vocabulary.size
    self._start, self._end = vocabulary.cls, vocabulary.sep
    # Two starts, so that a trigram never reaches into the sentence before.
    words = np.concatenate(
      [
        np.concatenate([[self._start] * 2, text, [self._end]])
        for text in sentences
      ]
    ).astype(np.int64)
    is_word = np.flatnonzero(words != self._start)
    # By length of the sequence; and by that of its beginning: how often it was
    # continued, and by how many different words.
    self._counts: list[_Counts] = []
    self._continued: list[_Counts] = []
    self._kinds: list[_Counts] = []
    for length in (1, 2, 3):
      keys = self._keys(
        np.stack([words[is_word - i] for i in range(length - 1, -1, -1)], -1)
      )
      found, counts = np.unique(keys, return_counts=True)
      self._counts.append(_Counts(found, counts))
      beginnings = found // self._size
      heads, first, kinds = np.unique(
        beginnings, return_index=True, return_counts=True
      )
      self._kinds.append(_Counts(heads, kinds))
      self._continued.append(_Counts(heads, np.add.reduceat(counts, first)))

  def log_probs(
    self, token_ids: Int[np.ndarray, 'sentences tokens']
  ) -> Float[np.ndarray, 'sentences tokens+1']:
    """Returns the log-probability of each word after the two before it.

    Args:
      token_ids: sentences of one length, without [CLS] and [SEP].
    Returns:
      float64; the last column is that of the sentence's end.
    """
    return self._log_probs(self._windows(token_ids))

  def lowest_near(
    self,
    token_ids: Int[np.ndarray, 'sentences tokens'],
    is_changed: Bool[np.ndarray, 'sentences tokens'],
  ) -> Float[np.ndarray, 'sentences']:
    """Returns the lowest log-probability that a change may have moved.

    These are those of changed words and of the two after each; infinite where
    nothing is changed.

    Args:
      token_ids: see `log_probs`.
      is_changed: which words are.
    """
    count, length = token_ids.shape
    touched = np.zeros((count, length + 1), bool)
    for shift in range(3):
      width = min(length, length + 1 - shift)
      touched[:, shift : shift + width] |= is_changed[:, :width]
    found = np.full(touched.shape, np.inf)
    found[touched] = self._log_probs(self._windows(token_ids)[touched])
    return np.min(found, axis=1)

  def _windows(self, token_ids: np.ndarray) -> np.ndarray:
    """Returns each word, and the end, after two others, [..., tokens+1, 3]."""
    count = len(token_ids)
    fill = lambda token, columns: np.full((count, columns), token, np.int64)
    padded = np.concatenate(
      [fill(self._start, 2), token_ids, fill(self._end, 1)], axis=1
    )
    return np.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], -1)

  def _log_probs(self, windows: np.ndarray) -> np.ndarray:
    probs = np.full(windows.shape[:-1], 1 / self._size)
    for length in (1, 2, 3):
      keys = self._keys(windows[..., -length:])
      seen = self._continued[length - 1].of(keys // self._size)
      kinds = self._kinds[length - 1].of(keys // self._size)
      probs = np.where(
        seen > 0,
        (self._counts[length - 1].of(keys) + kinds * probs)
        / np.maximum(seen + kinds, 1),
        probs,
      )
    return np.log(probs)

  def _keys(self, sequences: np.ndarray) -> np.ndarray:
    keys = np.zeros(sequences.shape[:-1], np.int64)
    for place in range(sequences.shape[-1]):
      keys = keys * self._size + sequences[..., place]
    return keys
