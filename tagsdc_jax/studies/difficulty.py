"""How hard are tailored negatives, and those of the data set?"""

from collections.abc import Sequence

import numpy as np

from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.studies import stages, study
from tagsdc_jax.studies.measures import gaps
from tagsdc_jax.studies.study import Found, Study

_EDGES = np.linspace(-1, 1, 41)


def _figures(found: Found) -> Sequence[content.Distributions]:
  return study.distributions(
    found,
    'Differences',
    'matching probability of the hardest negative, less that of the caption',
    _EDGES,
    {kind: gaps.gap_name(kind) for kind in gaps.KINDS},
    'To the right of zero, the negative is preferred to the caption.',
  )


STUDY = Study(
  'difficulty',
  'Difficulty of the negatives',
  'For every test caption: how much better or worse than the caption does its '
  'hardest refill match the picture, and how much the hardest caption of all '
  'other pictures?',
  stages.arms,
  measures=('gaps',),
  notes='Each network is measured with what itself writes.',
  figures=_figures,
)
