"""Which words do the heads of stage 2 find, and which do they mend?"""

from collections.abc import Sequence

from tagsdc_jax.studies import ablation
from tagsdc_jax.studies.study import Arm, Base, Study


def _arms(base: Base) -> Sequence[Arm]:
  label = 'both (DC)'
  return (
    Arm('discrimination only', ablation.part(ablation.DISCRIMINATION), label),
    Arm('correction only', ablation.part(ablation.CORRECTION), label),
    Arm(label, ablation.second_stage(base)[1]),
  )


STUDY = Study(
  'discrimination',
  'Word discrimination and correction',
  'Which words of a false sentence does stage 2 call replaced, and does its '
  'correction head restore them? On sentences as in training, on other ones, '
  'and on captions of other pictures.',
  _arms,
  measures=('words',),
  notes='A word is called replaced if the head says so as it was trained, with '
  'the class weights of training: often, as replaced words weigh more. Of a '
  'caption of another picture, the words count as replaced that are in no '
  'caption of the picture: a word may be in one, and still be wrong.',
  shown=(
    *(
      f'{number}, tailored'
      for number in (
        'precision of replaced',
        'recall of replaced',
        'recall of kept',
        'corrected',
      )
    ),
    'recall of replaced, two phrases swapped',
    'recall of replaced, retrieved',
  ),
)
