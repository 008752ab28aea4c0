"""Tables of foil files in the terminal."""

import numpy as np

from tagsdc_jax.foil_files import measuring, records
from tagsdc_jax.reporting import foils


def benchmark(kinds, family='SugarCrepe', **more):
  """Returns results of (kind, margin) per item."""
  scored = [
    measuring.Scored(
      records.Item(str(i), kind, (f'a cat {i}',), (f'a dog {i}',), ('x',)),
      np.float32([margin]),
      np.zeros(1, np.float32),
      is_unseen=i % 2 == 0,
      picture=str(i),
    )
    for i, (kind, margin) in enumerate(kinds)
  ]
  return {
    'family': family,
    'files': ['f.json'],
    'items': len(scored) + 1,
    'left_out': {'equal': 2},
    'not_scored': {'no_picture': {'count': 7, 'first': ['a.jpg', 'b.jpg']}},
    'splits': {'test': 3, 'train': 1},
    'remarks': ['keys run from 0 to 6, without 3'],
    **measuring.measure(scored),
    **more,
  }


def results(*benchmarks):
  """Returns results of several."""
  return {
    'benchmarks': list(benchmarks),
    'data': 'coco/test',
    'pictures': 4,
    'pairs': 8,
    'unknown_words': {'sentences': 2, 'words': 3, 'first': ['zebra', "o'er"]},
    'phase': 'tags',
    'precision': 'float32',
    'seconds': 1.0,
    'update': 2,
    'checkpoint': 'runs/tags/checkpoints/best/2',
  }


def test_a_table(capsys):
  one = benchmark([('add_[obj]', 1), ('add_[obj]', -1), ('swap', 0)])
  foils.print_results(results(one))
  shown = capsys.readouterr().out
  lines = [line for line in shown.splitlines() if line.startswith('│')]
  cells = [[c.strip() for c in line.strip('│').split('│')] for line in lines]
  # Names are no markup; a tie is counted; the swap is a picture that is new.
  assert cells[0][0] == 'add_[obj]' and cells[0][1] == '2'
  assert cells[0][3:6] == ['50.0', '9.5–90.5', '0']
  assert cells[1][3:6] == ['0.0', '0.0–79.3', '1']
  assert [row[0] for row in cells] == [
    'add_[obj]',
    'swap',
    'mean of 2 kinds',
    'all items',
  ]
  assert cells[2][3] == '25.0' and cells[3][3] == '33.3'
  assert '100.0 (1)' in cells[0] and '0.0 (1)' in cells[1]
  assert '3 pictures of test, 1 pictures of train' in shown


def test_bars():
  assert foils.bar(100, 50).plain == '━' * 10 + '╂' + '━' * 9
  assert foils.bar(0, 50).plain == '─' * 10 + '┃' + '─' * 9
  assert foils.bar(25, 100).plain == '━' * 5 + '─' * 15


def test_hundreds_of_kinds(capsys):
  one = benchmark([(f'relation {i}', 1) for i in range(200)])
  foils.print_results(results(one))
  shown = capsys.readouterr().out
  assert '140 more kinds in --json' in shown
  assert 'relation 59 ' in shown and 'relation 60 ' not in shown
  assert 'mean of 200 kinds' in shown


def test_nothing_was_scored(capsys):
  one = benchmark([], splits={})
  foils.print_results(results(one))
  assert capsys.readouterr().out == ''


def test_notes():
  lines = foils.notes(
    results(benchmark([('a', 1)])),
    {'no_picture': 'have no picture in the data'},
    records.LEFT_OUT,
  )
  assert lines == [
    'SugarCrepe: 7 of 2 items have no picture in the data: a.jpg, b.jpg, ...',
    'SugarCrepe: 2 records whose only foil is the caption itself left out',
    'SugarCrepe: keys run from 0 to 6, without 3',
    '2 sentences have words that the vocabulary lacks, read as [UNK]: '
    "'zebra', \"o'er\"",
  ]


def test_all_or_no_pictures_are_new():
  kinds = [('a', 1)] * 2
  one = benchmark(kinds)
  assert foils.news(one) == '' and 'unseen' in foils.columns(one)
  row = one['all']
  for count, text in ((0, 'of the'), (2, 'outside the')):
    row['unseen'] = {'count': count, 'accuracy': 50.0}
    one['kinds']['a']['unseen'] = row['unseen']
    assert foils.news(one) == f'all pictures are {text} training split'
    assert 'unseen' not in foils.columns(one)
  row['unseen'] = None
  assert foils.news(one) == ''
