"""The page of a study from plain data: units, gaps, figures, JSON."""

import dataclasses
import json
import re
from xml.etree import ElementTree

import pytest

from tagsdc_jax.reporting.page import (
  charts,
  line_charts,
  study,
  study_figures,
  svg,
)
from tagsdc_jax.reporting.page.study_content import (
  Cell,
  Distributions,
  Line,
  Lines,
  Row,
  Study,
  is_percent,
  to_json,
)
from tests.reporting.page_rendering_test import EVIL, Reader, _examples


def _rows(evil=''):
  start = {
    'foils': Cell((60.0, 58.0, 62.0), None),
    'foils: swap': Cell((50.0, 44.0, 56.0), None),
    'mean rank': Cell((3.406, 2.9, 3.95), None),
  }
  better = {
    'foils': Cell((70.0, 69.0, 71.0), (10.0, 8.0, 12.0)),
    'foils: swap': Cell((51.0, 45.0, 57.0), (1.0, -2.0, 4.0)),
    'mean rank': Cell((2.5, 2.0, 3.0), (-0.906, -1.5, -0.25)),
  }
  # The last one was not ranked.
  return [
    Row(f'start{evil}', '', 0, 0, start),
    Row(f'tailored{evil}', f'start{evil}', 1200, 5.5e12, better),
    Row(
      f'longer{evil}', f'start{evil}', 2400, 11e12, {'foils': start['foils']}
    ),
  ]


def _lines(label='tailored', is_log=True):
  points = [(0, 50.0, 49.0, 51.0), (5, 60.0, 58.0, 62.0), (400, 70, 69, 71)]
  return Lines(
    f'By k of {label}',
    'k',
    'accuracy, percent',
    [Line(label, points), Line('flat', [(0, 50.0, 50.0, 50.0)])],
    f'A note on {label}.',
    is_log,
  )


def _study(evil='', **changes):
  return dataclasses.replace(
    Study(
      f'Numbers{evil}',
      f'How many?{evil}',
      f'Half are new.{evil}',
      3,
      _rows(evil),
      {'data': f'world{evil}', 'start': ''},
      [
        _lines(f'tailored{evil}'),
        Distributions(
          f'Truth{evil}',
          'probability',
          [0.0, 0.5, 1.0],
          {f'longer{evil}': [75.0, 25.0], f'tailored{evil}': [10.0, 90.0]},
        ),
      ],
      ['mean rank', 'foils', 'not measured'],
      _examples(evil=evil),
    ),
    **changes,
  )


@pytest.fixture(name='page', scope='module')
def _page():
  return study.render(_study())


def _text(page):
  return re.sub(r'\s+', ' ', re.sub('<[^>]*>', ' ', page))


def test_the_page_is_one_valid_file_that_loads_nothing(page):
  found = Reader(page).found
  assert not found['script'] and not found['link']
  assert 'url(' not in page and 'http' not in page
  assert all(
    'aria-label' in attrs or attrs.get('aria-hidden') == 'true'
    for attrs in found['svg']
  )
  assert study.render(_study()) == page
  headings = re.findall('<h2>(.*?)</h2>', page)
  assert headings == [
    'By k of tailored',
    'Truth',
    'mean rank',
    'foils',
    'Generated negatives',
    'Differences',
    'All numbers',
  ]


def test_everything_of_the_data_is_escaped():
  page = study.render(_study(EVIL))
  assert EVIL not in page and '<script' not in page
  Reader(page)


def test_means_have_their_own_unit(page):
  assert is_percent('foils') and not is_percent('mean rank')
  cells = _rows()[0].cells
  assert study.show('mean rank', cells['mean rank']) == '3.41 (2.90 to 3.95)'
  assert study.show('foils', cells['foils']) == '60.0 (58.0 to 62.0)'
  assert study.show('foils', None) == study.show_change('foils', None) == ''
  text = _text(page)
  assert 'mean rank On the test split, mean over 3 seeds' in text
  assert 'foils Percent on the test split, mean over 3 seeds' in text
  assert 'Percent, but means in their own units. Half are new.' in text
  assert study.lead(_study()) == [
    'Mean rank: clearly lower for tailored.',
    'Foils: clearly higher for tailored.',
    'Of 2 such intervals, one in twenty leaves out zero by mere chance.',
  ]


def test_what_numbers_are_is_said_beside_them():
  page = _text(study.render(_study(meanings={'foils': 'captions that win'})))
  assert page.count('Counted are captions that win.') == 1


def test_plain_numbers_are_as_before(capsys):
  rows = [
    dataclasses.replace(
      row, cells={k: v for k, v in row.cells.items() if 'rank' not in k}
    )
    for row in _rows()
  ]
  plain = _study(rows=rows, figures=(), shown=(), examples=None)
  page = study.render(plain)
  Reader(page)
  assert re.findall('<h2>(.*?)</h2>', page) == [
    'foils',
    'Differences',
    'All numbers',
  ]
  assert 'Percent. Half are new.' in _text(page)
  assert '<b>+10.0 (+8.0 to +12.0)</b>' in page
  study.print_table(plain)
  said = capsys.readouterr().out
  assert 'percent, 3 seeds' in said and '+10.0 (+8.0 to +12.0)' in said
  assert 'swap' not in said


def test_without_references_nothing_is_compared(capsys):
  rows = [
    dataclasses.replace(
      row,
      reference='',
      cells={k: Cell(v.value, None) for k, v in row.cells.items()},
    )
    for row in _rows()
  ]
  alone = _study(rows=rows)
  page = study.render(alone)
  Reader(page)
  assert '<h2>Differences' not in page and 'compared with' not in page
  study.print_table(alone)
  assert 'change' not in capsys.readouterr().out


def test_one_seed_says_what_its_intervals_leave_out(capsys):
  one = _study(num_seeds=1)
  text = _text(study.render(one))
  assert 'Percent on the test split, one seed, with 95 % intervals' in text
  assert 'do not include the differences between seeds' in text
  study.print_table(one)
  assert '1 seed\n' in re.sub(' +\n', '\n', capsys.readouterr().out)


def test_unknown_numbers_are_left_empty(page):
  row = page[page.rindex('<th scope="row">longer') :].split('</tr>')[0]
  assert re.findall('<td>(.*?)</td>', row) == [
    '2,400',
    '11.0',
    '60.0 (58.0 to 62.0)',
    '',
    '',
  ]


def test_a_study_is_written_without_its_pictures():
  fields = to_json(_study())
  read = json.loads(json.dumps(fields))
  assert 'examples' not in read
  assert read['shown'] == ['mean rank', 'foils', 'not measured']
  lines, distributions = read['figures']
  assert lines['lines'][0]['points'][1] == [5, 60.0, 58.0, 62.0]
  assert lines['is_log'] is True
  assert distributions['shares'] == {
    'longer': [75.0, 25.0],
    'tailored': [10.0, 90.0],
  }
  assert read['rows'][1]['cells']['foils']['change'] == [10.0, 8.0, 12.0]
  assert to_json(_study(examples=None)) == fields


def test_a_label_has_one_color_in_all_figures():
  lines, shares = study_figures.draw(_study().figures)
  assert lines.legend == [('series_1', 'tailored'), ('series_2', 'flat')]
  assert shares.legend == [('series_3', 'longer'), ('series_1', 'tailored')]
  assert (lines.band, shares.band) == ('95 % interval', '')
  assert list(lines.body[0]) == [
    'tailored',
    '50.0 (49.0 to 51.0)',
    '60.0 (58.0 to 62.0)',
    '70.0 (69.0 to 71.0)',
  ]
  assert list(lines.body[1]) == ['flat', '50.0 (50.0 to 50.0)', '', '']
  assert 'tailored: 50.0 at 0, 60.0 at 5, 70.0 at 400' in lines.drawing
  assert list(shares.head) == ['probability', '0 to 0.5', '0.5 to 1']
  assert 'longer: most, 75.0, from 0 to 0.5' in shares.drawing


def test_figures_of_many_labels_have_colors_each():
  many = [_lines(f'arm {number}') for number in range(9)]
  assert {one.legend[0][0] for one in study_figures.draw(many)} == {'series_1'}
  points = [(0, 1.0, 1.0, 1.0)]
  crowd = Lines('All', 'k', 'y', [Line(str(i), points) for i in range(9)])
  with pytest.raises(ValueError, match='All: at most 8 labels .* got 9'):
    study_figures.draw([crowd])


def test_every_series_has_a_color_of_the_page(page):
  assert len(svg.SERIES) == 8
  for name in svg.SERIES:
    # In light and in dark.
    assert page.count(f'--{name.replace("_", "-")}: #') == 2


def test_a_shrunk_axis_has_readable_ticks_at_the_points():
  xs = [0, 1, 2, 5, 10, 20, 50, 100, 200, 390, 400]
  points = [(x, float(x), x - 1.0, x + 1.0) for x in xs]
  drawing = line_charts.lines({'series_1': points}, 'k', 'y', True, 'said')
  texts = [t.text for t in ElementTree.fromstring(drawing).iter('text')]
  # 390 would be written across 400.
  assert texts[: len(xs)] == [f'{x}' for x in xs if x != 390] + ['k']


@pytest.mark.parametrize('is_log', [False, True])
@pytest.mark.parametrize('points', [[(3, 0.0, 0.0, 0.0)], [(-5, 1, 0, 2)] * 2])
def test_one_place_is_a_figure(points, is_log):
  line_charts.lines({'series_2': points}, 'k', 'y', is_log, 'said')


def test_the_axis_of_means_fits_them():
  means = {'tags': [(3.4, 2.9, 3.95), None]}
  drawing = charts.interval_rows(['a', 'b'], means, 3.4, 'said', False)
  texts = [t.text for t in ElementTree.fromstring(drawing).iter('text')]
  numbers = [float(text) for text in texts if text not in 'ab']
  assert len(numbers) > 2 and min(numbers) > 2.8 and max(numbers) < 4.1
  whole = {'tags': [(100.0, 100.0, 100.0)]}
  assert '<svg' in charts.interval_rows(['a'], whole, 100.0, 'said')


def test_the_interval_of_one_point_is_drawn():
  drawing = lambda high: line_charts.lines(
    {'series_1': [(1, 2.0, 1.0, high)], 'series_2': [(1, 2.0, 0.0, 9.0)]},
    'k',
    'y',
    False,
    'said',
  )
  assert drawing(3.0) != drawing(4.0)
