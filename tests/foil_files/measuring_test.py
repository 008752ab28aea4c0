"""Accuracies by hand, of six items of every shape."""

import math

import numpy as np
import pytest

from tagsdc_jax.foil_files import measuring, reading, records
from tests.foil_files import files


def _at(row, path):
  for key in path.split('.'):
    row = row[key]
  return row


@pytest.mark.parametrize('case', files.CASES, ids=lambda case: case.family)
def test_six_items_by_hand(case, tmp_path):
  found = reading.read(files.write(tmp_path, case))
  assert found.family == case.family
  assert found.left_out == case.left_out

  def score(text, picture):
    return case.scores.get((text, picture), case.scores.get(text))

  result = measuring.measure(files.scored(found, score))
  assert {
    kind: (row['count'], row['accuracy'])
    for kind, row in result['kinds'].items()
  } == {kind: pytest.approx(row) for kind, row in case.kinds.items()}
  for path, value in case.more.items():
    assert _at(result['all'], path) == pytest.approx(value), path
  assert result['mean']['accuracy'] == pytest.approx(
    np.mean([accuracy for _, accuracy in case.kinds.values()])
  )


def test_tasks_of_foil_by_hand(tmp_path):
  case = files.FOIL
  found = reading.read(files.write(tmp_path, case))
  scored = files.scored(found, lambda text, _: case.scores[text])
  tasks = measuring.measure(scored)['tasks']
  assert tasks['classify']['accuracy'] == pytest.approx(100 * 3 / 6)
  assert tasks['classify']['captions']['accuracy'] == pytest.approx(200 / 3)
  assert tasks['classify']['foils']['accuracy'] == pytest.approx(100 / 3)
  # Before stage 2.
  assert tasks['find'] is None and tasks['mend'] is None

  def judged(one, found, mended):
    return measuring.Scored(
      one.item, one.captions, one.foils, found=found, mended=mended
    )

  scored = [
    judged(scored[0], [True, False], [True, True]),
    judged(scored[1], [None], [None]),
    scored[2],
  ]
  tasks = measuring.measure(scored)['tasks']
  assert (tasks['find']['right'], tasks['find']['count']) == (1, 2)
  assert tasks['mend']['accuracy'] == 100 and tasks['unknown'] == 1


def test_wilson_intervals_by_hand():
  # The center is (k + z²/2) / (n + z²), the half width
  # z sqrt(k (n - k) / n + z²/4) / (n + z²).
  z, right, count = 1.959964, 8, 10
  center = (right + z**2 / 2) / (count + z**2)
  half = z * math.sqrt(right * (count - right) / count + z**2 / 4)
  half /= count + z**2
  found = measuring.share([True] * right + [False] * (count - right))
  assert found['accuracy'] == 80
  assert found['low'] == pytest.approx(100 * (center - half), abs=1e-4)
  assert found['high'] == pytest.approx(100 * (center + half), abs=1e-4)
  nothing = measuring.share([])
  assert (nothing['count'], nothing['accuracy']) == (0, None)


def _items(kinds):
  return [
    measuring.Scored(
      records.Item(str(i), kind, ('a cat',), ('a dog',), (f'{i}',)),
      np.ones(1, np.float32),
      np.full(1, 2.0 * is_wrong, np.float32),
      is_unseen=i % 2 == 0,
      fluency=(np.zeros(1), np.full(1, -1.0 if i % 4 else 1.0)),
      picture=f'{i}',
    )
    for i, (kind, is_wrong) in enumerate(kinds)
  ]


def test_the_mean_leaves_out_rare_kinds():
  kinds = [('a', False)] * 100 + [('b', True)] * 150 + [('c', False)] * 99
  result = measuring.measure(_items(kinds))
  assert result['mean'] == {'kinds': ['a', 'b'], 'accuracy': 50.0}
  # None has a hundred.
  result = measuring.measure(_items(kinds[90:140]))
  assert result['mean'] == {'kinds': ['a', 'b'], 'accuracy': 50.0}


def test_pictures_outside_training_and_fluency():
  items = _items([('a', False), ('a', True), ('a', True), ('a', False)])
  row = measuring.measure(items)['all']
  # The first and third.
  assert (row['unseen']['right'], row['unseen']['count']) == (1, 2)
  # All but the first.
  assert row['blind']['fluency'] == 75
  unknown = measuring.Scored(items[0].item, items[0].captions, items[0].foils)
  row = measuring.measure([*items, unknown])['all']
  assert row['unseen'] is None and row['blind']['fluency'] is None


def test_a_bag_of_words_tells_what_words_tell():
  # Cats are always true, dogs never; the words of the others are the same.
  tells = [
    records.Item(str(i), 'tells', (f'a cat {i}',), (f'a dog {i}',), ())
    for i in range(20)
  ]
  same = [
    records.Item(f's{i}', 'same', (f'a b {i}',), (f'b a {i}',), ())
    for i in range(20)
  ]
  scored = [
    measuring.Scored(
      item,
      np.ones(1, np.float32),
      np.zeros(1, np.float32),
      picture=item.item_id,
    )
    for item in tells + same
  ]
  kinds = measuring.measure(scored)['kinds']
  assert kinds['tells']['blind']['words'] == 100
  assert kinds['same']['blind']['words'] == 50
  assert kinds['tells']['same_words']['count'] == 0
  assert kinds['same']['same_words']['count'] == 20


def test_case_and_punctuation_do_not_matter_for_words():
  item = records.Item('', '', ('A cat, on a mat.',), ('a mat on A CAT',), ())
  assert measuring.same_words(item)
  other = records.Item('', '', ('a cat a',), ('a cat cat',), ())
  assert not measuring.same_words(other)
