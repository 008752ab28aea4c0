"""Resolves the copies of the word embedding in the release's files.

Decoders share the table, so the two or three copies agree in files that it
saves itself. Where they differ, torch would silently load the last one.
"""

from pathlib import Path

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.conversion import name_rules

# The value of --tied -> the copy's name.
COPIES = dict(
  zip(
    ('embedding', 'decoder', 'correction'), (name_rules.WORDS, *name_rules.TIED)
  )
)


def settle(
  weights: dict[str, np.ndarray], phase: str, winner: str | None, path: Path
) -> None:
  """Removes all copies but one, in place; it keeps the word embedding's name.

  Args:
    weights: {the release's name: float32 array}; copies may be missing.
    phase: one of settings.PHASES.
    winner: which of COPIES to keep; None means that they must agree.
    path: of the file, for messages.
  Raises:
    UserError: if copies differ and no winner is given, or if the file does not
      contain the winner.
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
    if name in weights and not _same_bits(weights[name], words)
  ]
  if differing and winner is None:
    raise errors.UserError(
      f'{path} contains copies of one table that differ: '
      f'{"; ".join(differing)}. Choose one with '
      f'--tied={"|".join(here)}; torch would load the last one, '
      f'--tied={list(here)[-1]}'
    )
  if winner is not None:
    weights[name_rules.WORDS] = weights[here[winner]]
  for name in name_rules.tied(phase):
    weights.pop(name, None)


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
  a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
  return np.array_equal(a.view(np.uint32), b.view(np.uint32))


def _difference(name: str, copy: np.ndarray, words: np.ndarray) -> str:
  return (
    f'{name} differs from {name_rules.WORDS} in '
    f'{np.count_nonzero(copy != words):,} of {words.size:,} numbers, by '
    f'up to {np.max(np.abs(copy - words)):.3g}'
  )
