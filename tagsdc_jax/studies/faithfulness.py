"""Are generated negatives false, and are they sentences?"""

from collections.abc import Sequence

import numpy as np

from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.studies import stages, study
from tagsdc_jax.studies.measures import perplexity, verdicts
from tagsdc_jax.studies.study import Found, Study

_BINS = 40


def _figures(found: Found) -> Sequence[content.Distributions]:
  """Returns the densities of log-perplexities, for each arm."""
  names = {kind: perplexity.log_name(kind) for kind in perplexity.KINDS}
  every = np.concatenate(
    [
      numbers[name]
      for numbers in found.items.values()
      for name in names.values()
      if name in numbers
    ]
  )
  return study.distributions(
    found,
    'Log-perplexity of sentences',
    'log-perplexity; the release plots perplexities',
    np.histogram_bin_edges(every, _BINS),
    names,
  )


STUDY = Study(
  'faithfulness',
  'Faithfulness of the negatives',
  'Negatives should be false of the picture, and well-formed sentences. The '
  'oracle of the world judges all refills of the test captions, and the ten '
  'that match best; on any data a language model judges the hardest refill, '
  'beside the caption and the corrected refill.',
  stages.arms,
  measures=('verdicts', 'perplexity'),
  notes='Perplexities are those of the first caption of each picture. The '
  'release prints three averages: of perplexities; over sentences; over words. '
  'The last two are exponentials of the numbers here.',
  shown=(
    *(f'{verdict}, {verdicts.HARDEST}' for verdict in verdicts.VERDICTS),
    *(perplexity.log_name(kind) for kind in perplexity.KINDS),
  ),
  figures=_figures,
)
