"""Curves and drawings: numbers worked by hand, SVG that fits into a page."""

import math
import os
import re
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import numpy as np
import pytest

from tagsdc_jax.reporting.page import charts, curves, line_charts, svg


def _lines(values):
  return [{'update': i + 1, 'loss': value} for i, value in enumerate(values)]


def test_smoothing_is_a_centered_mean():
  curve = curves.read(_lines([0.0, 3.0, 0.0, 3.0]), 'loss')
  np.testing.assert_allclose(curve.smoothed(), [1.5, 1.0, 2.0, 1.5])
  assert curve.last == 1.5


def test_a_window_is_a_share_of_the_curve():
  values = np.zeros(100)
  values[50] = 9.0
  # 8 percent of 100: four to each side.
  smoothed = curves.read(_lines(values), 'loss').smoothed()
  np.testing.assert_allclose(np.flatnonzero(smoothed), np.arange(46, 55))
  np.testing.assert_allclose(smoothed[46:55], 1.0)


def test_what_is_no_number_is_left_out():
  lines = _lines([1.0, math.nan, 2.0, math.inf]) + [{'update': 5}]
  curve = curves.read(lines, 'loss')
  assert curve.updates.tolist() == [1, 3]
  assert curve.values.tolist() == [1.0, 2.0]
  assert curves.read(lines, 'mlm') is None
  assert curves.read(_lines([math.nan]), 'loss') is None


def test_one_point_is_a_curve():
  assert curves.read(_lines([2.0]), 'loss').smoothed().tolist() == [2.0]


def test_long_curves_are_thinned_by_means():
  curve = curves.read(_lines(range(10_000)), 'loss')
  assert 100 < len(curve.values) < 500
  # Update u has the value u - 1, and so has every mean.
  np.testing.assert_allclose(curve.updates - curve.values, 1.0)
  assert curve.values[0] < 50 and curve.values[-1] > 9950


def _drawings():
  curve = curves.read(_lines([3.0, 2.0, 1.0]), 'loss')
  said = 'R@1 <"now">'
  return [
    charts.loss_panel(curve, 5, svg.COLORS['tags'], said),
    charts.score_panel(curve, 5, svg.INK, said, 0.5),
    charts.score_panel(curve, 5, svg.INK, said, None),
    charts.grouped_bars(
      ['R@1', 'R@5'],
      {'tags': [50.0, None], 'dc': [100.0, 25.0]},
      [4.0, None],
      said,
    ),
    charts.histogram([9.5, 10.5, 11.5], [25.0, 75.0], said),
    charts.distributions(
      [-1.0, 0.0, 2.0],
      {'caption': [0.0, 100.0], 'negative': [50.0, 50.0]},
      said,
      line=0.0,
    ),
    charts.distributions([0.0, 1.0], {'negative': [0.0]}, said),
    charts.reliability([(0.1, 0.0), (0.9, 1.0)], 0.2, said),
    charts.interval_rows(
      ['all', 'size'],
      {'words': [(50.0, 40.0, 60.0), None], 'head': [None, (9.0, 8.0, 10.0)]},
      50.0,
      said,
    ),
    charts.interval_rows(
      ['all', 'size'],
      {
        'hard_only': [(80.0, 75.0, 84.0), (55.0, 43.0, 60.0)],
        'dc': [(90.0, 85.0, 95.0), (100.0, 100.0, 100.0)],
      },
      50.0,
      said,
    ),
    charts.interval_rows(['all'], {'dc': [(3.5, 3, 4)]}, 3.0, said, False),
    charts.distributions(
      [0.0, 0.5, 1.0],
      {'series_1': [0.0, 100.0], 'series_2': [50.0, 50.0]},
      said,
      x_label='probability',
    ),
    *(
      line_charts.lines(
        {name: [(0, 1, 0, 2), (9, 2, 1, 3)] for name in svg.SERIES},
        'k',
        'percent',
        is_log,
        said,
      )
      for is_log in (False, True)
    ),
    charts.stacked_bars(
      {'Stage 1': [('false', 95.0), ('still_true', 5.0)]}, said
    ),
  ]


def test_drawings_fit_into_a_page():
  for drawing in _drawings():
    element = ElementTree.fromstring(drawing)
    assert element.tag == 'svg' and element.get('role') == 'img'
    assert element.get('aria-label') == 'R@1 <"now">'
    assert element.get('viewBox').startswith('0 0 ')
    # Ids would clash, styles would leak into the page.
    assert not re.search(r' id=|<style|<defs|href|url\(', drawing)
    # Every color is one of the page's, so that it can be dark.
    assert not re.search(r'#[0-9a-f]{3}', drawing)
    assert 'var(--' in drawing
    texts = element.findall('.//text')
    assert all('var(--' in text.get('style') for text in texts)


def test_drawings_are_always_the_same():
  assert _drawings() == _drawings()


def _boxes(drawing, name):
  """Returns x, y, width and height of the filled shapes of a color."""
  found = []
  for path in ElementTree.fromstring(drawing).iter('path'):
    if f'fill: var(--{name})' in path.get('style', ''):
      numbers = [float(x) for x in re.findall(r'-?[\d.]+', path.get('d'))]
      xs, ys = numbers[0::2], numbers[1::2]
      found.append((min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)))
  return found


def test_bars_are_as_high_as_their_numbers():
  drawing = _drawings()[3]
  (tags,), dc = _boxes(drawing, 'tags'), _boxes(drawing, 'dc')
  assert len(dc) == 2
  assert dc[0][3] == pytest.approx(2 * tags[3], rel=1e-3)
  assert dc[0][3] == pytest.approx(4 * dc[1][3], rel=1e-3)
  # In the order of the phases, the second group right of the first.
  assert tags[0] < dc[0][0] < dc[1][0]
  assert [
    text.text
    for text in ElementTree.fromstring(drawing).iter('text')
    if '.' in (text.text or '')
  ] == ['50.0', '100.0', '25.0']


def test_bars_of_a_histogram_stand_between_their_edges():
  drawing = charts.histogram([9.5, 10.5, 12.5], [25.0, 75.0], 'tokens')
  low, high = _boxes(drawing, 'tags')
  assert high[3] == pytest.approx(3 * low[3], rel=1e-3)
  assert high[2] == pytest.approx(2 * low[2], rel=1e-3)
  assert low[0] + low[2] < high[0]


def test_kinds_of_phrases_have_colors_of_their_own():
  kinds = ('object', 'attribute', 'relation', 'phrase')
  drawing = charts.grouped_bars(
    ['0'], {kind: [50.0] for kind in kinds}, [None], 'phrases'
  )
  places = [_boxes(drawing, kind) for kind in kinds]
  assert [len(found) for found in places] == [1, 1, 1, 1]
  assert sorted(places) == places


def test_shares_stand_side_by_side():
  drawing = _drawings()[-1]
  (false,), (still_true,) = (
    _boxes(drawing, name) for name in ('false', 'still-true')
  )
  assert false[2] == pytest.approx(19 * still_true[2], rel=1e-3)
  assert false[0] + false[2] == pytest.approx(still_true[0], abs=0.01)
  texts = [t.text for t in ElementTree.fromstring(drawing).iter('text')]
  # Five percent have no room for a number; the label says it.
  assert texts == ['Stage 1', '95.0']


# A notebook's processes inherit the first.
@pytest.mark.parametrize(
  'backend', ['module://matplotlib_inline.backend_inline', 'nonsense']
)
def test_no_backend_of_the_environment_is_used(backend):
  ended = subprocess.run(
    [
      sys.executable,
      '-c',
      textwrap.dedent("""
      import os
      from tagsdc_jax.reporting.page import svg
      drawing = svg.Drawing(100, 80)
      drawing.axes.plot([1, 2])
      print(os.environ['MPLBACKEND'], drawing.to_svg('x')[:4])
      """),
    ],
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {'MPLBACKEND': backend},
  )
  assert (ended.stdout, ended.stderr) == (f'{backend} <svg\n', '')
