"""Difficulty: how much better or worse negatives match than the caption."""

import numpy as np
from scipy import special

from tagsdc_jax.studies.measures import items, networks

TAILORED, RETRIEVED = 'tailored', "the data set's captions"
KINDS = (TAILORED, RETRIEVED)


def gap_name(kind: str) -> str:
  """Returns the name of the number that has the differences of a kind."""
  return f'mean difference, {kind}'


def gaps(subject: networks.Subject) -> items.Items:
  """Returns score differences of each caption's hardest negative and itself.

  Differences are of matching probabilities, as in the triplet loss. The hardest
  refill of a caption is compared with the hardest of the split's captions of
  other pictures.
  """
  scores = special.expit(subject.scores.astype(np.float64))
  captions = subject.opened.data.captions
  images = np.array([caption.image for caption in captions])
  found = []
  for one in subject.written:
    own = special.expit(one.score)
    negatives = {RETRIEVED: scores[images != one.image, one.image].max()}
    if one.sentences:
      negatives[TAILORED] = special.expit(one.scores[one.hardest])
    for kind, score in negatives.items():
      found += [
        (gap_name(kind), score - own, one.image),
        (f'above the caption, {kind}', score >= own, one.image),
      ]
  return items.join(found)
