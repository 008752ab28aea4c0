"""How hard are tailored negatives, and those of the data set?"""

from collections.abc import Sequence

import numpy as np

from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.studies import robustness
from tagsdc_jax.studies.measures import gaps
from tagsdc_jax.studies.study import Found, Study

_EDGES = np.linspace(-1, 1, 41)


def _figures(found: Found) -> Sequence[content.Distributions]:
  return [
    content.Distributions(
      f'Differences: {label}',
      'matching probability of the hardest negative, less that of the caption',
      _EDGES.tolist(),
      {
        kind: (
          100
          * np.histogram(numbers[gaps.gap_name(kind)], _EDGES)[0]
          / len(numbers[gaps.gap_name(kind)])
        ).tolist()
        for kind in gaps.KINDS
        if gaps.gap_name(kind) in numbers
      },
      'To the right of zero, the negative is preferred to the caption.',
    )
    for label, numbers in found.items.items()
  ]


STUDY = Study(
  'difficulty',
  'Difficulty of the negatives',
  'For every test caption: how much better or worse than the caption does its '
  'hardest refill match the picture, and how much the hardest caption of all '
  'other pictures?',
  robustness.arms,
  measures=('gaps',),
  notes='Each network is measured with what itself writes.',
  figures=_figures,
)
