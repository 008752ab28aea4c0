"""How the negatives are made: what is masked, how much, how many."""

from collections.abc import Sequence
from typing import Any

from tagsdc_jax import settings
from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.studies.study import Arm, Base, Found, Run, Study

_CHOSEN = 'as chosen'
_VALUES: dict[str, tuple[Any, ...]] = {
  'negatives.unit': ('phrase', 'token', 'both'),
  'negatives.mask_rate': (0.05, 0.15, 0.3, 0.5),
  'negatives.temperature': (0.5, 1.0, 1.5, 2.0),
  'negatives.num_copies': (1, 2, 4),
  'negatives.num_samples': (3, 6, 12),
  'negatives.num_hard': (1, 3, 5),
  'losses.synthetic': (0.3, 1.0, 3.0),
}


def _arms(base: Base) -> Sequence[Arm]:
  chosen = settings.flatten(base.phases['tags'])
  arms = [Arm('pretraining', None), Arm(_CHOSEN, Run('tags', 'tags'))]
  for name, values in _VALUES.items():
    short = name.partition('.')[2]
    arms += [
      Arm(
        f'{short} = {value}',
        Run(f'{short}_{value}', 'tags', {name: value}),
        _CHOSEN,
      )
      for value in values
      if value != chosen[name]
    ]
  return arms


def _figures(found: Found) -> Sequence[content.Lines]:
  """Returns curves over the settings that are numbers."""
  chosen = settings.flatten(found.trained[_CHOSEN][0].config)
  figures = []
  for name, values in _VALUES.items():
    if isinstance(values[0], str):
      continue
    short = name.partition('.')[2]
    lines = []
    for number in next(iter(found.numbers.values())):
      if ': ' in number:
        continue
      lines.append(
        content.Line(
          number,
          [
            (
              float(value),
              *found.numbers[
                _CHOSEN if value == chosen[name] else f'{short} = {value}'
              ][number],
            )
            for value in sorted({*values, chosen[name]})
          ],
        )
      )
    figures.append(content.Lines(short, name, 'percent', lines, is_log=True))
  return figures


STUDY = Study(
  'units',
  'How the negatives are made',
  'What does it matter which units are masked, how many of them, at which '
  'temperature they are refilled, how many candidates there are, how many of '
  'them become negatives, and how much these weigh?',
  _arms,
  figures=_figures,
)
