"""Copies of the word embedding, which the release's files hold two or three of.

Its decoders share the table, so copies agree in what it saves itself. Where
they differ torch would load the last one and say nothing.
"""

from pathlib import Path

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.conversion import name_rules

# What --tied says -> the copy's name.
COPIES = dict(
  zip(
    ('embedding', 'decoder', 'correction'), (name_rules.WORDS, *name_rules.TIED)
  )
)


def settle(
  weights: dict[str, np.ndarray], phase: str, winner: str | None, path: Path
) -> None:
  """Leaves one copy, under the word embedding's name, in place.

  Args:
    weights: {the release's name: float32 array}, whole.
    phase: one of settings.PHASES.
    winner: which of COPIES is kept if they differ; None = they must agree.
    path: the file's, for messages.
  Raises:
    UserError: if copies differ and no winner is given, or the file has no such
      copy.
  """
  here = {word: name for word, name in COPIES.items() if name in weights}
  if winner is not None and winner not in here:
    raise errors.UserError(
      f'--tied must be one of {", ".join(here)} for {path}, got {winner}'
    )
  words = weights[name_rules.WORDS]
  differing = [
    _difference(name, weights[name], words)
    for name in name_rules.tied(phase)
    if not _same_bits(weights[name], words)
  ]
  if differing and winner is None:
    raise errors.UserError(
      f'{path} holds copies of one table that differ: '
      f'{"; ".join(differing)}. Say which counts with '
      f'--tied={"|".join(here)}; torch would load the last one, '
      f'--tied={list(here)[-1]}'
    )
  if winner is not None:
    weights[name_rules.WORDS] = weights[here[winner]]
  for name in name_rules.tied(phase):
    del weights[name]


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
  a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
  return np.array_equal(a.view(np.uint32), b.view(np.uint32))


def _difference(name: str, copy: np.ndarray, words: np.ndarray) -> str:
  return (
    f'{name} differs from {name_rules.WORDS} in '
    f'{np.count_nonzero(copy != words):,} of {words.size:,} numbers, by '
    f'up to {np.max(np.abs(copy - words)):.3g}'
  )
