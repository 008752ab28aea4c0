"""Tokens of the sentences of foil files, and of their foil words."""

import collections
import re
from collections.abc import Sequence

import numpy as np

from tagsdc_jax.data import captions, dataset
from tagsdc_jax.foil_files import records

# Why a sentence cannot be scored.
TOO_LONG, NO_TOKENS, SPECIAL = 'too_long', 'no_tokens', 'special_tokens'
_SHOWN = 8


class Sentences:
  """Encodes sentences, and counts their unknown words.

  Attributes:
    num_unknown: sentences, each counted once, with an unknown word.
  """

  def __init__(self, vocabulary: dataset.Vocabulary, max_tokens: int) -> None:
    """Uses a vocabulary.

    Args:
      vocabulary: with words.
      max_tokens: of a sentence, without [CLS] and [SEP].
    Raises:
      UserError: if the words are not known.
    """
    self._locate = captions.make_locator(vocabulary)
    self._vocabulary, self._max_tokens = vocabulary, max_tokens
    self._known: dict[str, np.ndarray | str] = {}
    self._unknown: collections.Counter[str] = collections.Counter()
    self.num_unknown = 0

  def tokens(self, text: str) -> np.ndarray:
    """Returns the tokens of a sentence that has no fault, int32 [tokens]."""
    found = self._encoded(text)
    assert not isinstance(found, str), text
    return found

  def fault_of(self, texts: Sequence[str]) -> str | None:
    """Returns why a sentence cannot be scored; None if all can."""
    found = [self._encoded(text) for text in texts]
    return next((one for one in found if isinstance(one, str)), None)

  def about(self) -> dict[str, object]:
    """Returns what is not in the vocabulary, for the results.

    Returns:
      `sentences` and `words`, how many; and `first`, the most frequent.
    """
    return {
      'sentences': self.num_unknown,
      'words': sum(self._unknown.values()),
      'first': [word for word, _ in self._unknown.most_common(_SHOWN)],
    }

  def _encoded(self, text: str) -> np.ndarray | str:
    if text not in self._known:
      self._known[text] = self._encode(text)
    return self._known[text]

  def _encode(self, text: str) -> np.ndarray | str:
    token_ids, spans = self._locate(text)
    if not len(token_ids):
      return NO_TOKENS
    if len(token_ids) > self._max_tokens:
      return TOO_LONG
    own = self._vocabulary
    if np.isin(token_ids, (own.pad, own.cls, own.sep, own.mask)).any():
      return SPECIAL
    unknown = [
      text[slice(*spans[i])] for i in np.flatnonzero(token_ids == own.unk)
    ]
    self._unknown.update(unknown)
    self.num_unknown += bool(unknown)
    return np.asarray(token_ids, np.int32)

  def find(self, item: records.Item, foil: int) -> tuple[int, int] | None:
    """Returns [start, end) of the tokens of a foil's wrong word.

    Returns None if the word is not in the sentence, or not once.
    """
    text, word = item.foils[foil], item.swaps[foil][0]
    if not word:
      return None
    found = [
      one.span()
      for one in re.finditer(
        rf'(?<!\w){re.escape(word)}(?:e?s)?(?!\w)', text, re.IGNORECASE
      )
    ]
    if len(found) > 1:  # The caption has the word as well.
      found = [one for one in found if _differs(item, foil, one)]
    if len(found) != 1:
      return None
    start, end = found[0]
    _, spans = self._locate(text)
    inside = [
      place
      for place, span in enumerate(spans)
      if span[0] < end and span[1] > start
    ]
    return (inside[0], inside[-1] + 1) if inside else None

  def words(self, text: str) -> list[int]:
    """Returns the number of the word that each token of a sentence is of."""
    starts = np.array(
      [
        not captions.is_piece(int(token), self._vocabulary)
        for token in self.tokens(text)
      ]
    )
    return (np.cumsum(starts) - starts[0]).tolist()

  def restores(
    self, item: records.Item, foil: int, tokens: Sequence[int] | np.ndarray
  ) -> bool:
    """Returns whether tokens are the caption's word, or its plural."""
    target = item.swaps[foil][1].casefold()
    text = captions.to_words(tokens, self._vocabulary, is_padded=False)
    return bool(target) and text.casefold() in (
      target,
      f'{target}s',
      f'{target}es',
    )


def _differs(item: records.Item, foil: int, span: tuple[int, int]) -> bool:
  """Returns whether the caption has something else in place of a word."""
  if not item.captions:
    return False
  caption, text = item.captions[0], item.foils[foil]
  return caption[: span[0]] == text[: span[0]] and not caption.startswith(
    text[slice(*span)], span[0]
  )
