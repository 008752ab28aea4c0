"""Do matchers prefer longer captions, even where the added words are false?"""

from collections.abc import Sequence

from tagsdc_jax.studies import ablation
from tagsdc_jax.studies.study import Arm, Base, Run, Study


def _arms(base: Base) -> Sequence[Arm]:
  without, tailored = ablation.hard_only(base), ablation.tags()
  label = 'hard retrieved negatives only'
  return (
    Arm('pretraining', None),
    Arm(label, without),
    Arm('TAGS', tailored, label),
    Arm('TAGS, then DC', Run('dc', 'dc', {}, tailored), label),
  )


STUDY = Study(
  'length_bias',
  'Longer captions',
  'A half-truth is a caption with one false object, attribute or relation; the '
  'true caption is shortened to a part without it. Does the shorter, true one '
  'outscore the longer, half-true one (arXiv 2602.23906)? A matcher that adds '
  'up the words that fit prefers the longer one.',
  _arms,
  measures=('half_truths', 'recall'),
  notes='Tailored negatives have the length of their caption, so they do not '
  'teach this by themselves.',
)
