"""What each part of the method adds, at equal updates and at equal FLOP."""

from collections.abc import Sequence

from tagsdc_jax.studies.study import Arm, Base, Run, Study

# As in configs/world_hard_only.py.
HARD_ONLY = {'losses.synthetic': 0.0, 'negatives.num_samples': 1}


def hard_only(base: Base) -> Run:
  """Returns stage 1 with hard retrieved negatives only."""
  num_hard = base.phases['tags'].negatives.num_hard
  return Run(
    'hard_only',
    'tags',
    {**HARD_ONLY, 'negatives.num_hard_by_source': (num_hard, num_hard, 1)},
  )


def tags() -> Run:
  """Returns stage 1."""
  return Run('tags', 'tags')


def _arms(base: Base) -> Sequence[Arm]:
  without, tailored = hard_only(base), tags()
  dc = base.phases['dc']
  longer = {
    'num_updates': dc.num_updates,
    'checkpoint_every': dc.checkpoint_every,
    'optimizer.learning_rate': dc.optimizer.learning_rate,
  }
  second = Run('hard_only_2', 'tags', {**without.changes, **longer}, without)
  continued = Run('tags_2', 'tags', longer, tailored)
  parts = {
    'discrimination': Run(
      'discrimination', 'dc', {'losses.correction': 0.0}, tailored
    ),
    'correction': Run(
      'correction', 'dc', {'losses.discrimination': 0.0}, tailored
    ),
    'both': Run('dc', 'dc', {}, tailored),
  }
  hard_label, label = 'stage 1: hard retrieved only', 'stage 2: hard only'
  return (
    Arm('pretraining', None),
    Arm(hard_label, without),
    Arm('stage 1: + tailored (TAGS)', tailored, hard_label),
    Arm(
      'stage 1: hard retrieved only, FLOP of TAGS',
      Run(
        'hard_only_flop',
        'tags',
        without.changes,
        equal_flop=(tailored, without),
      ),
      hard_label,
    ),
    Arm(label, second),
    Arm('stage 2: tailored (TAGS), continued', continued, label),
    Arm('stage 2: + discrimination', parts['discrimination'], label),
    Arm('stage 2: + correction', parts['correction'], label),
    Arm('stage 2: + both (DC)', parts['both'], label),
    Arm(
      'stage 2: hard only, FLOP of DC',
      Run(
        'hard_only_2_flop',
        'tags',
        second.changes,
        without,
        equal_flop=(parts['both'], second),
      ),
      label,
    ),
  )


STUDY = Study(
  'ablation',
  'What each part adds',
  'Does training with tailored negatives help over as many updates, or as much '
  'compute, with hard retrieved negatives? Do word discrimination and word '
  'correction help beside it?',
  _arms,
)
