"""What launch/measure_check.py counts, by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax.data.world.foils import Foil
from tagsdc_jax.reporting.checked import Checked, Word

_PATH = Path(__file__).parents[2] / 'launch' / 'measure_check.py'


@pytest.fixture(name='measure', scope='module')
def _measure():
  spec = importlib.util.spec_from_file_location('measure_check', _PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_foils_are_spread_over_kinds_and_captions(measure):
  made = [
    Foil(kind, caption, np.zeros(1, np.int32))
    for caption in range(12)
    for kind in ('shape', 'colour', 'swap')
    if kind != 'swap' or caption == 7
  ]
  chosen = measure.spread(made, 20)
  assert [(foil.kind, foil.caption) for foil in chosen] == [
    *(('colour', caption) for caption in (0, 3, 6, 9)),
    *(('shape', caption) for caption in (0, 3, 6, 9)),
    ('swap', 7),
  ]


@pytest.mark.parametrize(
  'replaced, suggestion, corrected, expected',
  [
    ((0.1, 0.9, 0.2), 'red', 'a red star', (1 / 3, True, True, True)),
    ((0.1, 0.9, 0.2), 'pink', 'a pink star', (1 / 3, True, False, False)),
    ((0.1, 0.2, 0.9), 'red', 'a red star', (1 / 3, False, False, True)),
    ((0.1, 0.2, 0.9), 'red', 'a blue star', (1 / 3, False, False, False)),
  ],
)
def test_a_foil_is_found_and_restored(
  measure, replaced, suggestion, corrected, expected
):
  words = tuple(
    Word(text, prob, suggestion)
    for text, prob, suggestion in zip(
      ('a', 'blue', 'star'), replaced, ('a', suggestion, 'star'), strict=True
    )
  )
  checked = Checked('a blue star', 0.0, 0.5, words, corrected)
  assert measure.measured('a red star', checked) == pytest.approx(expected)


def test_shares_have_wilson_intervals(measure):
  # (8 + z^2 / 2) / (10 + z^2) ± z sqrt(1.6 + z^2 / 4) / (10 + z^2), z = 1.96.
  assert measure.share(np.array([True] * 8 + [False] * 2)) == (
    '80.0 (49.0 to 94.3)'
  )
  assert measure.share(np.array([False] * 10)) == '0.0 (0.0 to 27.8)'
