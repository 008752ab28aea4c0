"""What each part of the method adds, at equal updates and at equal FLOP."""

from collections.abc import Sequence
from typing import Any

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


DISCRIMINATION, CORRECTION = 'discrimination', 'correction'


def part(name: str) -> Run:
  """Returns stage 2 with one of its two losses."""
  other = CORRECTION if name == DISCRIMINATION else DISCRIMINATION
  return Run(name, 'dc', {f'losses.{other}': 0.0}, tags())


def second_stage(base: Base) -> tuple[Run, Run]:
  """Returns stage 2 with hard retrieved negatives only, and DC's."""
  first = hard_only(base)
  return (
    Run('hard_only_2', 'tags', {**first.changes, **_longer(base)}, first),
    Run('dc', 'dc', {}, tags()),
  )


def _longer(base: Base) -> dict[str, Any]:
  """Returns what stage 2 has besides its losses."""
  dc = base.phases['dc']
  return {
    'num_updates': dc.num_updates,
    'checkpoint_every': dc.checkpoint_every,
    'optimizer.learning_rate': dc.optimizer.learning_rate,
  }


def _arms(base: Base) -> Sequence[Arm]:
  without, tailored = hard_only(base), tags()
  second, both = second_stage(base)
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
    Arm(
      'stage 2: tailored (TAGS), continued',
      Run('tags_2', 'tags', _longer(base), tailored),
      label,
    ),
    Arm('stage 2: + discrimination', part(DISCRIMINATION), label),
    Arm('stage 2: + correction', part(CORRECTION), label),
    Arm('stage 2: + both (DC)', both, label),
    Arm(
      'stage 2: hard only, FLOP of DC',
      Run(
        'hard_only_2_flop',
        'tags',
        second.changes,
        without,
        equal_flop=(both, second),
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
