"""Foils: false sentences that differ from a caption in a single place."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tagsdc_jax.data.dataset import RetrievalDataset
from tagsdc_jax.data.world import grammar, oracle
from tagsdc_jax.data.world.scenes import Scene

# Keys in results.json.
KINDS = ('colour', 'shape', 'size', 'relation', 'swap')


@dataclasses.dataclass(frozen=True, slots=True)
class Foil:
  """One false sentence.

  Attributes:
    kind: what was changed, one of `KINDS`.
    caption: number of the caption that was changed.
    token_ids: int32 [length], without [CLS] and [SEP]; as long as the caption.
  """

  kind: str
  caption: int
  token_ids: np.ndarray


def make_foils(
  data: RetrievalDataset, scenes: Sequence[Scene], seed: int = 0
) -> list[Foil]:
  """Returns one foil per caption and kind, where the oracle finds one.

  Args:
    data: a split of the world.
    scenes: the scene of every picture of the split.
    seed: selects among the edits of a caption; see `oracle.foils`.
  """
  found = []
  for number, caption in enumerate(data.captions):
    parsed = grammar.parse(grammar.to_words(caption.token_ids))
    if parsed is None:
      raise ValueError(
        f'caption {number} of {data.name} must be a sentence '
        f'of the grammar, got {caption.text!r}'
      )
    edited = oracle.foils(
      parsed, scenes[caption.image], np.random.default_rng([seed, number])
    )
    found += [
      Foil(kind, number, grammar.to_ids(words))
      for kind, words in edited.items()
    ]
  return found
