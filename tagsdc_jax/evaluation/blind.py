"""A blind baseline: can captions be told from foils without the picture?

A foil that a model recognizes by its words alone tests, and teaches, nothing
about pictures.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import optimize, sparse, special

CHANCE = 50.0
_NUM_FOLDS = 5
# Weight of the squared norm beside the sum of the losses.
_L2 = 1.0
# The most frequent words have a weight of their own, the others one together.
# Libraries divide longer vectors among threads, so that the last bits would
# depend on the number of cores, and each sum would wait for busy ones.
_MAX_WORDS = 8192
# Chinese characters are words of their own, and so is punctuation.
_WORD = re.compile(r'[\u3400-\u9fff]|(?:(?![\u3400-\u9fff])\w)+|[^\w\s]')


def words(text: str) -> list[str]:
  """Returns the words of a sentence in lower case, punctuation included."""
  return _WORD.findall(text.lower())


def bag_of_words(
  captions: Sequence[str],
  foils: Sequence[str],
  kinds: Sequence[str],
  groups: Sequence[str],
  seed: int = 0,
) -> dict[str, float]:
  """Returns how often a bag of words prefers a caption to its foil.

  It is a logistic regression on the difference of the two word counts,
  cross-validated: the pairs of a picture are judged by weights that were
  fitted to those of other pictures. A pair without a preference, such as one
  with the same words in another order, counts half, so that chance is 50.

  Args:
    captions, foils: of each pair.
    kinds: of each pair's edits.
    groups: of each pair, its picture; pairs of a group stay together.
    seed: of the division into folds.
  Returns:
    accuracy in percent: `all`, over all pairs, and by kind. A single set of
    weights serves all kinds. Empty with fewer than two groups, where there is
    nothing to fit to.
  """
  names, group = np.unique(np.asarray(groups, str), return_inverse=True)
  if len(names) < 2:
    return {}
  num_folds = min(_NUM_FOLDS, len(names))
  order = np.random.default_rng(seed).permutation(len(names))
  fold = (order % num_folds)[group]
  differences = _differences(captions, foils)
  scores = np.zeros(len(fold))
  for held_out in range(num_folds):
    own = fold == held_out
    scores[own] = differences[own] @ _fit(differences[~own])
  # Weights are found to a few decimals; less is no preference.
  is_right = 0.5 + 0.5 * np.sign(np.round(scores, 6))
  found, kind = np.unique(np.asarray(kinds, str), return_inverse=True)
  shares = np.bincount(kind, is_right) / np.bincount(kind)
  return {'all': 100 * float(is_right.mean())} | {
    str(name): 100 * float(share)
    for name, share in zip(found, shares, strict=True)
  }


def _differences(
  captions: Sequence[str], foils: Sequence[str]
) -> sparse.csr_array:
  """Returns word counts of captions less those of foils, [pairs, words]."""
  columns: dict[str, int] = {}
  places: list[int] = []
  counts: list[int] = []
  ends = [0]
  for caption, foil in zip(captions, foils, strict=True):
    difference = Counter(words(caption))
    difference.subtract(words(foil))
    for word, count in difference.items():
      if count:
        places.append(columns.setdefault(word, len(columns)))
        counts.append(count)
    ends.append(len(places))
  place = np.array(places, int)
  frequency = np.bincount(place, minlength=len(columns))
  rank = np.empty(len(columns), int)
  rank[np.argsort(-frequency, kind='stable')] = np.arange(len(columns))
  return sparse.csr_array(
    (
      np.array(counts, float),
      np.minimum(rank, _MAX_WORDS)[place],
      np.array(ends),
    ),
    (len(captions), min(len(columns), _MAX_WORDS + 1)),
  )


def _fit(differences: sparse.csr_array) -> np.ndarray:
  """Returns the weight of each word, 0 for words that do not occur."""
  transposed = differences.T.tocsr()

  def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
    margins = differences @ weights
    value = np.logaddexp(0, -margins).sum() + _L2 / 2 * weights @ weights
    return value, _L2 * weights - transposed @ special.expit(-margins)

  start = np.zeros(differences.shape[1])
  return optimize.minimize(loss, start, jac=True, method='L-BFGS-B').x
