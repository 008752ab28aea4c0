"""The ablation in short: training without tailored negatives, and with them."""

from collections.abc import Sequence

from tagsdc_jax.studies import ablation
from tagsdc_jax.studies.study import Arm, Base, Study


def arms(base: Base) -> Sequence[Arm]:
  """Returns training without tailored negatives, with them, and with DC."""
  without, tailored = ablation.hard_only(base), ablation.tags()
  label = 'hard retrieved negatives only'
  second, both = ablation.second_stage(base)
  return (
    Arm('pretraining', None),
    Arm(label, without),
    Arm('TAGS', tailored, label),
    Arm(f'{label}, stage 2', second),
    Arm('TAGS, then DC', both, f'{label}, stage 2'),
  )


STUDY = Study(
  'stages',
  'What the method adds',
  'Does training with tailored negatives help over as many updates with hard '
  'retrieved negatives? The short form of ablation: four trainings for a seed, '
  'which robustness, faithfulness and difficulty share.',
  arms,
)
