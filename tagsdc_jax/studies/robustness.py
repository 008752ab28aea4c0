"""Do matchers find the right caption among sentences written against them?"""

from collections.abc import Sequence

from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.studies import stages
from tagsdc_jax.studies.measures import attacks
from tagsdc_jax.studies.study import Found, Study

_KINDS = {
  'static': 'written by the network that training started from',
  'dynamic': 'written by the network itself',
}
_SHOWN = (0, 10, 100)


def _figures(found: Found) -> Sequence[content.Lines]:
  return [
    content.Lines(
      f'{measure}, {kind} attacks',
      'attack sentences per picture',
      measure,
      [
        content.Line(
          label,
          [
            (k, *numbers[f'{measure}, {kind}, k = {k}'])
            for k in attacks.NUMBERS
          ],
        )
        for label, numbers in found.numbers.items()
      ],
      f'Attack sentences are {_KINDS[kind]}.',
      is_log=True,
    )
    for measure in ('text R@1', 'mean rank')
    for kind in _KINDS
  ]


STUDY = Study(
  'robustness',
  'Attack sentences',
  'To the captions that a picture is compared with, k sentences are added that '
  'were written against it: its own captions, masked and refilled. How often '
  'does one of its captions still come first?',
  stages.arms,
  measures=('attacks',),
  notes='Attack sentences differ from every caption of the picture. On the '
  'world, those that are still true are left out; on other data nobody knows '
  'which are true, so that no matcher can reach 100 %.',
  shown=tuple(f'text R@1, {kind}, k = {k}' for kind in _KINDS for k in _SHOWN),
  figures=_figures,
)
