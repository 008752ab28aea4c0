"""The opening of a demo's page: what the numbers say, good or bad."""

import pytest

from tagsdc_jax.reporting.page import comparison, content, rendering


def _row(stage, name, accuracy, *, spread=1.0, mean_r1=70.0, updates=None):
  def entry(value, count=500):
    return {
      'accuracy': value,
      'low': value - spread,
      'high': value + spread,
      'count': count,
      'in_mean': count >= 100,
    }

  return {
    'stage': stage,
    'name': name,
    'seed': 0,
    'updates': 100 * stage if updates is None else updates,
    'foil_accuracy': {
      'all': entry(accuracy),
      'colour': entry(accuracy + 5),
      'size': entry(accuracy - 5 + 3 * (name in ('tags', 'dc'))),
      'swap': entry(accuracy, 20),
    },
    'mean_r1': mean_r1,
    'image_r1': mean_r1,
    'text_r1': mean_r1,
  }


def _rows(own=90.0, other=80.0, **changes):
  return [
    _row(0, 'pretrain', 75.0),
    _row(1, 'hard_only', 76.0),
    _row(1, 'tags', 77.0),
    _row(2, 'hard_only', other),
    _row(2, 'dc', own, **changes),
  ]


@pytest.mark.parametrize(
  'rows, expected',
  [
    (_rows(), 'Tailored negatives helped: 10.0 points more. After 200 updates'),
    (_rows(other=90.0, own=80.0), 'Tailored negatives did harm: 10.0 points l'),
    (_rows(own=81.0), 'made no clear difference (+1.0 points, intervals over'),
    (_rows(own=79.0), 'made no clear difference (-1.0 points, intervals over'),
    (_rows(), 'in 90.0 % (89.0 to 91.0) of the cases'),
    (_rows(), 'largest for size (+13.0) and smallest for color (+10.0).'),
    (_rows(), 'Mean R@1 is about the same: 70.0 and 70.0.'),
    (_rows(mean_r1=73.0), 'Mean R@1 is higher: 73.0 and 70.0.'),
    (_rows(mean_r1=67.0), 'Mean R@1 is lower: 67.0 and 70.0.'),
    # Stage 2 is not done yet: the first one is compared.
    (_rows()[:3], 'made no clear difference (+1.0 points'),
    (_rows()[:4], 'made no clear difference (+1.0 points'),
  ],
)
def test_the_sentence_is_made_from_the_numbers(rows, expected):
  assert expected in comparison.compare(rows).sentence


@pytest.mark.parametrize('count', [0, 1, 2])
def test_without_both_arms_there_is_no_comparison(count):
  assert comparison.compare(_rows()[:count]) is None
  assert comparison.compare(_rows()[1:]) is None


def test_the_table_has_every_row_and_rare_kinds_are_named():
  found = comparison.compare(_rows())
  assert found.shown == ['pretrain', 'hard_only', 'dc']
  assert found.kinds == ['all', 'color', 'size', 'swap']
  assert [line.updates for line in found.lines] == [
    '–',
    *['100'] * 2,
    *['200'] * 2,
  ]
  assert found.lines[-1].cells[0] == ('90.0', '89.0–91.0')
  assert found.rare == ['swap (20)']


def test_the_page_opens_with_it():
  report = content.Report(
    'demo', [content.Phase('dc', updates=4)], ablation=_rows()
  )
  page = rendering.render(report)
  assert page.index('id="comparison"') < page.index('id="results"')
  assert 'Tailored negatives helped' in page
  assert 'too few foils: swap (20).' in page
  assert 'Dash' not in page and 'None' not in page
  without = rendering.render(content.Report('run', report.phases))
  assert 'id="comparison"' not in without
