"""Turns captions into tokens and phrases."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import dataset
from tagsdc_jax.data.scene_graph import graph, parsing
from tagsdc_jax.preparing import listing

# How phrases are found: by spaCy's parse; every word but function words; or
# none, so that every token is masked on its own.
PHRASES = ('spacy', 'words', 'none')


@dataclasses.dataclass(frozen=True)
class Annotator:
  """Makes `Caption`s of sentences. Can be pickled.

  Attributes:
    vocabulary: vocab.txt file or hub name.
    phrases: one of PHRASES.
  """

  vocabulary: str
  phrases: str

  def __call__(
    self, sentences: Sequence[listing.Sentence]
  ) -> Iterator[dataset.Caption]:
    """Yields a caption for each sentence; `image` is not set.

    A sentence of characters that the tokenizer drops has no tokens.

    Raises:
      UserError: if the parser or the vocabulary is missing.
    """
    texts = [sentence.text for sentence in sentences]
    for sentence, found in zip(sentences, self._graphs(texts), strict=True):
      token_ids, offsets = captions_lib.tokenize_with_offsets(
        sentence.text, _tokenizer(self.vocabulary)
      )
      phrases, kinds = (
        ((), ()) if found is None else graph.to_positions(found, offsets)
      )
      yield dataset.Caption(
        sentence.caption_id, 0, token_ids, phrases, sentence.text, kinds
      )

  def _graphs(self, texts: Sequence[str]) -> Iterator[Any]:
    if self.phrases == 'spacy':
      return parsing.parse(texts)
    if self.phrases == 'words':
      return map(parsing.function_words, texts)
    return iter([None] * len(texts))

  def is_usable(self, caption: dataset.Caption) -> bool:
    """Returns whether a caption has tokens, and no special one but [UNK]."""
    words = _vocabulary(self.vocabulary)
    special = (words.pad, words.cls, words.sep, words.mask)
    return (
      len(caption.token_ids) > 0
      and not np.isin(caption.token_ids, special).any()
    )

  def count_unknown(self, caption: dataset.Caption) -> int:
    """Returns how many tokens of a caption are [UNK]."""
    unknown = _vocabulary(self.vocabulary).unk
    return int(np.sum(caption.token_ids == unknown))


@functools.cache
def _tokenizer(name: str) -> Any:
  return captions_lib.load_tokenizer(name)


@functools.cache
def _vocabulary(name: str) -> dataset.Vocabulary:
  return captions_lib.load_vocabulary(name)
