"""Captions, negatives, and what stage 2 says of their words, to look at."""

from collections.abc import Sequence

from tagsdc_jax.studies import ablation
from tagsdc_jax.studies.study import Arm, Base, Study


def _arms(base: Base) -> Sequence[Arm]:
  return (
    Arm('pretraining', None),
    Arm('TAGS', ablation.tags()),
    Arm('TAGS, then DC', ablation.second_stage(base)[1]),
  )


STUDY = Study(
  'cases',
  'Cases',
  'What do the negatives look like, which of their words does stage 2 find '
  'wrong, and what does it put there?',
  _arms,
  measures=('recall',),
  notes='The captions are drawn, never chosen by their results. They are those '
  'of the first seed. Special tokens such as [MASK] are words of the '
  'vocabulary, so a network may draw them, as in the release.',
  has_examples=True,
)
