"""The quality card, counted by hand."""

import dataclasses
import json

import numpy as np
import pytest

from tagsdc_jax.negative_files import card, records
from tests.negative_files.making import captioned, negative

DOG, CAT, MAN = 'a red dog', 'a cat on a mat', 'a Man'


def _records():
  return [
    captioned(
      0,
      DOG,
      2.0,
      negative(DOG, 'dog', 'cow', 3.0, probability=0.5, corrected='A red dog'),
      negative(
        DOG,
        'red',
        'blue',
        1.0,
        'attribute',
        probability=0.1,
        corrected='a blue dog',
        fluency=-2.0,
      ),
      dropped={'repeated': 5, 'odd': 1},
    ),
    captioned(
      1,
      CAT,
      4.0,
      negative(CAT, 'cat', 'cow', 4.0, probability=0.3, is_contained=True),
      negative(CAT, 'on', 'off', 0.0, 'relation', source='word_swap'),
      negative(CAT, 'a cat on', 'cat', 2.0, 'object', is_caption=True),
      dropped={'repeated': 2},
    ),
    captioned(2, MAN, -1.0, dropped={'surplus': 1}),
    # The negative of another caption, and the text of another picture.
    captioned(3, MAN, 1.0, negative(MAN, 'Man', 'red dog', 0.5)),
  ]


@pytest.fixture(name='made', scope='module')
def _made():
  return card.make(_records())


def test_counts(made):
  assert (made['captions'], made['negatives'], made['without']) == (4, 6, 1)
  assert made['kept'] == {'0': 1, '1': 1, '2': 1, '3': 1}
  assert made['dropped'] == {'repeated': 7, 'odd': 1, 'surplus': 1}
  assert made['sources'] == {'mask_refill': 5, 'word_swap': 1}
  assert [(kind, row['count']) for kind, row in made['kinds'].items()] == [
    ('object', 4),
    ('attribute', 1),
    ('relation', 1),
  ]
  assert made['sampled'] == made['all']['pairs'] == 6


def test_shares_and_medians(made):
  # Only 3.0 is above its caption: 4.0 is a tie.
  row = made['all']
  assert row['above'] == pytest.approx(100 / 6)
  assert row['probability'] == pytest.approx(30)
  assert row['restored'] == 50
  assert row['fluency'] == -2
  # +1, -1, 0, -4, -2, -0.5.
  assert row['difference'] == -0.75
  by_object = made['kinds']['object']
  assert by_object['above'] == 25 and by_object['pairs'] == 4
  assert by_object['probability'] == pytest.approx(40)
  assert by_object['restored'] == 100 and by_object['fluency'] is None
  relation = made['kinds']['relation']
  assert relation['probability'] is None and relation['restored'] is None


def test_score_distributions(made):
  scores = made['scores']
  assert scores['captions'] == {
    # Of -1, 1, 2, 4.
    '5': pytest.approx(-0.7),
    '25': 0.5,
    '50': 1.5,
    '75': 2.5,
    '95': pytest.approx(3.7),
  }
  assert scores['negatives']['50'] == 1.5
  assert scores['difference']['50'] == made['all']['difference']
  for name, series in (
    ('scores', ('captions', 'negatives')),
    ('difference', ('negatives',)),
  ):
    histogram = scores['histograms'][name]
    edges = histogram['edges']
    assert 40 <= len(edges) - 1 <= 42 and edges == sorted(edges)
    # No bar goes across 0.
    assert min(map(abs, edges)) < 1e-9
    for one in series:
      assert len(histogram[one]) == len(edges) - 1
      assert sum(histogram[one]) == pytest.approx(100)
  high = [
    share
    for edge, share in zip(
      scores['histograms']['difference']['edges'],
      scores['histograms']['difference']['negatives'],
    )
    if edge > -1e-9
  ]
  # A tie is on this side, too.
  assert sum(high) == pytest.approx(200 / 6)


def test_duplicates(made):
  assert made['duplicates'] == {
    'is_caption': 1,
    'is_contained': 1,
    'repeated': 0,
    'caption_of_file': 1,
    'share': 1.0,
  }
  again = card.make(_records() + _records())
  assert again['duplicates']['repeated'] == 6


def test_lengths_and_edits(made):
  # 3, 3, 5, 5, 5, 2 words, and 3, 3, 5, 5, 3, 3.
  lengths = made['lengths']
  assert lengths['captions'] == pytest.approx(23 / 6)
  assert lengths['negatives'] == pytest.approx(22 / 6)
  assert lengths['shorter'] == lengths['longer'] == pytest.approx(100 / 6)
  assert lengths['edits'] == {'1': 100.0}


def test_replacements(made):
  assert made['replacements'] == {
    'object': [
      ['a cat on', 'cat', 25.0],
      ['cat', 'cow', 25.0],
      ['dog', 'cow', 25.0],
      ['man', 'red dog', 25.0],
    ],
    'attribute': [['red', 'blue', 100.0]],
    'relation': [['on', 'off', 100.0]],
  }


def test_examples_are_records_and_the_hardest_comes_first(made):
  found = [records.from_fields(one) for one in made['examples']]
  differences = [one.negatives[0].score - one.score for one in found]
  assert differences == [1.0, 0.0, -0.5, -1.0, -2.0, -4.0]
  first = _records()[0]
  assert found[0] == dataclasses.replace(
    first, negatives=first.negatives[:1], dropped={}
  )


def test_twenty_examples_of_many():
  many = [
    captioned(i, DOG, 0.0, negative(DOG, 'dog', f'x{i}', float(-i)))
    for i in range(500)
  ]
  made = card.make(many)
  scores = [one['negatives'][0]['score'] for one in made['examples']]
  assert len(scores) == card.NUM_EXAMPLES
  assert scores == sorted(scores, reverse=True)
  # Not the first ones, not the hardest ones.
  assert scores[0] > -150 and scores[-1] < -350
  assert card.make(many) == made


def test_several_kinds_of_edits_are_one_kind():
  both = negative(DOG, 'red dog', 'blue cow', 1.0)
  both = dataclasses.replace(
    both,
    edits=(
      records.Edit('attribute', 2, 5, 'red', 'blue', 2),
      records.Edit('object', 6, 9, 'dog', 'cow', 7),
    ),
  )
  made = card.make([captioned(0, DOG, 0.0, both)])
  assert list(made['kinds']) == ['several']
  assert made['lengths']['edits'] == {'2': 100.0}
  # Each replacement is one of its own kind.
  assert made['replacements'] == {
    'object': [['dog', 'cow', 100.0]],
    'attribute': [['red', 'blue', 100.0]],
  }


def test_the_blind_baseline_is_by_kind():
  # Objects are given away by a word; relations are the same words.
  sides = 'a dog sees a cat', 'a cat sees a dog'
  many = [
    captioned(
      number,
      sides[number % 2],
      0.0,
      negative(sides[number % 2], 'sees', 'never sees', 0.0),
      negative(
        sides[number % 2],
        sides[number % 2],
        sides[1 - number % 2],
        0.0,
        'relation',
      ),
    )
    for number in range(40)
  ]
  made = card.Card()
  for one in many:
    made.add(one)
  found = made.finish({'all': 70.0, 'relation': 51.0}, 10)
  assert found['all']['blind_words'] == 75
  assert found['kinds']['object']['blind_words'] == 100
  assert found['kinds']['relation']['blind_words'] == 50
  assert found['all']['blind_head'] == 70
  assert found['kinds']['object']['blind_head'] is None
  assert found['kinds']['relation']['blind_head'] == 51
  # Ten pairs, spread over all 80.
  assert found['all']['head_pairs'] == 10
  assert sum(one['head_pairs'] for one in found['kinds'].values()) == 10


def test_pairs_to_read_are_spread_over_the_file():
  made = card.Card()
  for number in range(100):
    made.add(captioned(number, DOG, 0, negative(DOG, 'dog', f'x{number}', 0)))
  found = [int(text[len('a red x') :]) for _, text, _ in made.sample(40)]
  assert len(set(found)) == 40 and found == sorted(found)
  assert found[0] < 20 and found[-1] > 80
  # No fixed step: every fourth would be the same place of each caption.
  assert len(set(np.diff(found))) > 2
  assert len(made.sample(1000)) == 100 and not made.sample(0)
  assert made.sample(1)[0][0] == DOG


@pytest.mark.parametrize('captions', [[], [captioned(0, DOG, 1.5)]])
def test_without_negatives_there_is_a_card(captions):
  made = card.make(captions)
  assert made['negatives'] == 0 and made['without'] == len(captions)
  assert made['kinds'] == made['replacements'] == {} and not made['examples']
  assert made['all']['above'] is None and made['all']['blind_words'] is None
  assert made['scores']['negatives'] is None
  assert made['lengths']['captions'] is None
  assert sum(
    (made['scores']['histograms']['scores'] or {'captions': [0]})['captions']
  ) == 100 * len(captions)
  json.dumps(made, allow_nan=False)


def test_it_is_as_when_read_from_json(made):
  assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_memory_does_not_grow(monkeypatch):
  monkeypatch.setattr(card, '_NUM_SAMPLED', 50)
  made = card.make(
    captioned(i, DOG, float(i), negative(DOG, 'dog', f'x{i}', i + 1.0))
    for i in range(1000)
  )
  assert made['sampled'] == made['all']['pairs'] == 50
  # What is counted is exact.
  assert made['negatives'] == 1000 and made['all']['above'] == 100
  assert made['scores']['captions']['50'] == pytest.approx(500, abs=250)
