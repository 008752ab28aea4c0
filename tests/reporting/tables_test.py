"""Tables for the terminal: chance, and the second count."""

from tagsdc_jax.evaluation import recall
from tagsdc_jax.reporting import tables


def _result(start, **facts):
  found = [
    {f'r{k}': start + add + k for k in recall.CUTOFFS} for add in (0.0, 20.0)
  ]
  return recall.with_means(*found) | facts


def _rows(shown):
  """Returns a table's cells, row by row."""
  return [
    [cell.strip() for cell in line.strip('│').split('│')]
    for line in shown.splitlines()
    if line.startswith('│')
  ]


def test_chance_is_that_of_the_captions_there_are(capsys):
  sizes = {'images': 12, 'captions': 4}
  even, uneven = (
    recall.chance(12, counts + [0] * 8) for counts in ([1] * 4, [4, 0, 0, 0])
  )
  tables.print_recalls(
    [
      ('a', _result(10.0, **sizes, chance=even)),
      ('b', _result(11.0, **sizes, chance=even)),
      ('c', _result(12.0, **sizes, chance=uneven)),
      ('d', _result(1.0)),
    ],
    't',
  )
  rows = _rows(capsys.readouterr().out)
  assert [row[0] for row in rows] == [
    'chance among 12 images',
    'a',
    'b',
    'chance among 12 images',
    'c',
    'd',
  ]
  assert rows[0][1:8] == [
    '8.3',
    '41.7',
    '83.3',
    '25.0',
    '100.0',
    '100.0',
    '16.7',
  ]
  assert rows[3][4] == '100.0'


def test_results_of_earlier_versions_have_their_chance():
  assert tables.chance({'images': 200, 'captions': 1000}) == recall.chance(
    200, [5] * 200
  )


def test_the_second_count_stands_beside_the_first(capsys):
  second = {'equal_sentences': _result(15.0)}
  tables.print_recalls(
    [('mine', _result(10.0) | second), ('other', _result(12.0))], 'title'
  )
  rows = _rows(capsys.readouterr().out)
  assert [row[0] for row in rows] == [
    'mine',
    'equal sentences as hits',
    'other',
  ]
  assert rows[1][1:] == [
    '16.0',
    '20.0',
    '25.0',
    '36.0',
    '40.0',
    '45.0',
    '26.0',
    f'{_result(15.0)["rsum"]:.1f}',
    '',
  ]
  precise = {
    way: {'map_at_r': 1.5, 'r_precision': 2.5, 'r1': 3.5} for way in recall.WAYS
  }
  tables.print_precisions(
    [
      (
        'mine',
        precise
        | {
          'equal_sentences': {
            way: {'map_at_r': 4.5, 'r_precision': 5.5, 'r1': 6.5}
            for way in recall.WAYS
          }
        },
      )
    ],
    'title',
  )
  assert _rows(capsys.readouterr().out)[1] == [
    'equal sentences as hits',
    *['4.5', '5.5', '6.5'] * 2,
  ]
