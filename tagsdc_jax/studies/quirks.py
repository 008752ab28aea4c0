"""What each departure of the PyTorch release changes."""

from collections.abc import Sequence
from typing import Any

from tagsdc_jax import settings
from tagsdc_jax.studies.study import Arm, Base, Run, Study

_STAGE_1 = (
  'first_word_positive',
  'last_text_offset',
  'other_caption',
  'penalties',
  'last_copy',
  'fill_up',
  'equal_texts',
)
_STAGE_2 = (
  'first_word_positive',
  'penalties',
  'clamped_words',
  'reset_rank_head',
)
_RANKING = ('untrained_rank_head', 'float16_scores')
_WITHOUT, _TOGETHER = 'none', 'all'


def _changes(base: Base, phase: str, name: str) -> dict[str, Any]:
  """Returns the settings of a quirk; the release has one positive at a time."""
  batch = base.phases[phase].batch
  own: dict[str, Any] = {'quirks.plain_step': True}
  if name == _TOGETHER:
    own = {'preset': 'as_released', **settings.PRESETS['as_released']}
  elif name != _WITHOUT:
    own[f'quirks.{name}'] = True
  return own | {
    'batch.positives': 1,
    'batch.micro_batches': batch.positives * batch.micro_batches,
  }


def _arms(base: Base) -> Sequence[Arm]:
  arms = [Arm('pretraining', None)]
  first = {
    name: Run(f'quirk_1_{name}', 'tags', _changes(base, 'tags', name))
    for name in (_WITHOUT, *_STAGE_1, _TOGETHER)
  }
  second = {
    name: Run(
      f'quirk_2_{name}',
      'dc',
      _changes(base, 'dc', name),
      # With all quirks, stage 1 was trained with all of them, too.
      first[_TOGETHER if name == _TOGETHER else _WITHOUT],
    )
    for name in (_WITHOUT, *_STAGE_2, _TOGETHER)
  }
  for stage, runs in ((1, first), (2, second)):
    label = lambda name, stage=stage: f'stage {stage}: {name}'
    arms += [
      Arm(label(name), run, label(_WITHOUT) if name != _WITHOUT else '')
      for name, run in runs.items()
    ]
  return arms + [
    Arm(
      f'ranking of stage 1: {name}',
      first[_WITHOUT],
      f'stage 1: {_WITHOUT}',
      {f'quirks.{name}': True},
    )
    for name in _RANKING
  ]


STUDY = Study(
  'quirks',
  'Quirks of the PyTorch release',
  'docs/quirks.md lists where the release computes something else than the '
  'paper describes. What does each of them change, alone and together?',
  _arms,
  notes='All arms take one positive at a time, as the release does. With all '
  'quirks the ranking has its own, too; that some captions are counted twice '
  '(quirks.overcounted_recall) is left out.',
)
