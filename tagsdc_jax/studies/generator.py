"""Who writes the negatives: the matcher, a frozen network, swaps, or chance."""

import collections
from collections.abc import Sequence

import numpy as np

from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.runs import folder, report
from tagsdc_jax.studies.study import Arm, Base, Found, Run, Study, Trained

_SHARED = 'shared with the matcher (dynamic)'
_WRITERS = ('mask_refill', 'static_refill', 'word_swap')


def _arms(base: Base) -> Sequence[Arm]:
  del base
  sources = lambda name: {'negatives.sources': ('images', 'texts', name)}
  return (
    Arm('pretraining', None),
    Arm(_SHARED, Run('tags', 'tags')),
    Arm(
      'frozen (static)',
      Run('static_refill', 'tags', sources('static_refill')),
      _SHARED,
    ),
    Arm(
      'two phrases swapped',
      Run('word_swap', 'tags', sources('word_swap')),
      _SHARED,
    ),
    # At such a temperature all words are about as probable.
    Arm(
      'random words',
      Run('random_words', 'tags', {'negatives.temperature': 1000.0}),
      _SHARED,
    ),
  )


def _above(
  trained: Sequence[Trained],
) -> list[tuple[float, float, float, float]]:
  """Returns update, and percent of negatives above the caption.

  Of those that training selected; mean, least and most of the seeds.
  """
  found = collections.defaultdict(list)
  for one in trained:
    for line in report.read_metrics(one.path / folder.METRICS):
      for writer in _WRITERS:
        share = line.get(f'{writer}_accuracy')
        if share is not None:
          found[line['update']].append(100 * (1 - share))
  return [
    (update, float(np.mean(own)), min(own), max(own))
    for update, own in sorted(found.items())
  ]


def _figures(found: Found) -> Sequence[content.Lines]:
  lines = [
    content.Line(label, points)
    for label, trained in found.trained.items()
    if trained[0].results and (points := _above(trained))
  ]
  if not lines:
    return []
  return [
    content.Lines(
      'Difficulty over training',
      'update',
      'negatives above the caption, %',
      lines,
      'Of the generated negatives that an update trains with, those that match '
      'better than the caption: mean, least and most of the seeds. If matcher '
      'and generator improve together, this share stays high with the shared '
      'generator, and falls with the others.',
      band='least to most of the seeds',
    )
  ]


STUDY = Study(
  'generator',
  'Who writes the negatives',
  'The paper lets the matcher write its own negatives, so that both improve '
  'together. Is that better than a frozen language head, than swapping two '
  'phrases of the caption, and than random words?',
  _arms,
  notes='Swaps and frozen refills train without the masked language modeling '
  'loss, which only the shared generator has.',
  figures=_figures,
)
