"""The page of a file of negatives from plain data: numbers, gaps, marks."""

import dataclasses
import re

import pytest

from tagsdc_jax.negative_files import card as cards
from tagsdc_jax.negative_files import choosing
from tagsdc_jax.negative_files.records import Edit, Negative
from tagsdc_jax.reporting.page import (
  card,
  card_content,
  card_pieces,
  card_text,
  content,
  pictures,
)
from tagsdc_jax.reporting.page.card_content import (
  Calibration,
  Example,
  Numbers,
  Page,
  Piece,
  Row,
)
from tests.negative_files.making import captioned, negative
from tests.reporting.page_rendering_test import EVIL, Reader

CAPTION = 'a red dog'


def _card(evil=''):
  """Returns the card of six captions of three pictures."""
  made = cards.Card()
  for number in range(6):
    made.add(
      captioned(
        number,
        CAPTION,
        2.0,
        negative(CAPTION, 'dog', f'cow{evil}', 3.0, probability=0.25),
        negative(CAPTION, 'red', 'blue', 1.0, 'attribute', is_caption=True),
        dropped={f'repeated{evil}': 3, 'odd': 1},
      )
      if number
      else captioned(0, CAPTION, 1.5)
    )
  return made.finish({'all': 61.0, 'object': 100.0}, 10)


def _example(evil='', **changes):
  return dataclasses.replace(
    Example(
      content.Picture(f'p1{evil}.jpg', None, [(0, 0.25, 0.5, 1)], 1.5),
      f'c1{evil}',
      [Piece('a red '), Piece(f'dog{evil}', 'object')],
      2.0,
      0.9,
      'object',
      f'mask_refill{evil}',
      [Piece('a', '', 0.125), Piece(' '), Piece(f'cow{evil}', 'object', 0.75)],
      3.0,
      0.25,
      corrected=f'a blue dog{evil}',
      remarks=[f'odd{evil}'],
    ),
    **changes,
  )


def _page(evil='', **changes):
  return dataclasses.replace(
    Page(
      f'mine{evil}',
      card_content.read_numbers(_card(evil)),
      Calibration(
        [(0.1, 0.0, 5), (0.8, 0.9, 7)],
        0.25,
        0.05,
        0.9,
        f'mine{evil}',
        {'true': 5, 'generated': 6, 'retrieved': 7},
      ),
      [_example(evil)],
      has_photos=False,
      networks={'model': f'ab{evil}'},
      data={'name': f'mine{evil}'},
      settings={'seed': f'0{evil}'},
    ),
    **changes,
  )


def test_the_page_is_one_valid_file_that_loads_nothing():
  page = card.render(_page())
  found = Reader(page).found
  assert not found['script'] and not found['link']
  assert 'url(' not in page and 'http' not in page
  names = {a['href'] for a in found['a']}
  assert names == {f'#{s["id"]}' for s in found['section'] if 'id' in s}
  assert '#calibration' in names and '#examples' in names
  assert card.render(_page()) == page


def test_everything_of_the_data_is_escaped():
  page = card.render(_page(EVIL))
  assert EVIL not in page and '<script' not in page
  assert page.count('&lt;script&gt;') >= 12
  Reader(page)


def test_the_numbers_are_on_the_page():
  page = card.render(_page())
  for said in (
    '10 negatives of 6 captions, 1.7 each; 1 caption got none.',
    # One of two kinds scores higher.
    'prefers 50.0 % of them',
    'their mean probability to be true is 25.0 %',
    '<b>15</b> <span>Equal to another candidate or a caption',
    'Of 30 candidates, each for the first reason',
    'red → <b>blue</b>',
    'Candidates to the right of the dashed line, at 25.0 %',
    'higher one than a false one in 90.0 % of the pairs',
    '5 captions as true ones, and as false ones 6 generated and 7 retrieved',
    'The mean distance is 5.0 points.',
  ):
    assert said in page, said
  rows = re.findall(r'<th scope="row">.*?</tr>', page)
  assert len(rows) == 6
  assert '<td>10</td><td>50.0</td><td>+0.00</td><td>25.0</td>' in rows[0]


def test_the_blind_chart_has_both_rows_and_chance():
  page = card.render(_page())
  (drawing,) = re.findall(r'aria-label="Pairs in which[^"]*"', page)
  assert 'chance 50.0' in drawing
  assert 'Bag of words: all 100.0' in drawing
  assert 'without the picture: all 61.0, object 100.0, attribute –' in drawing
  numbers = card_content.read_numbers(_card())
  without = dataclasses.replace(
    numbers,
    all=dataclasses.replace(numbers.all, blind_head=None),
    kinds=[dataclasses.replace(x, blind_head=None) for x in numbers.kinds],
  )
  page = card.render(_page(numbers=without))
  assert 'The language head reads' not in page
  assert '</i>Language head' not in page and '</i>Bag of words' in page


@pytest.mark.parametrize(
  'percent, pairs, said',
  [
    (None, 100, 'too few pictures'),
    (54.0, 100, 'what chance gives'),
    (30.0, 1000, 'what chance gives'),
    (54.0, 10_000, 'a little better than chance'),
    (66.0, 1000, 'must be reported'),
    (90.0, 1000, 'Do not train or test'),
  ],
)
def test_the_blind_baseline_is_put_into_words(percent, pairs, said):
  numbers = Numbers(all=Row('all', pairs, pairs, blind_words=percent))
  assert said in card_text.blind_text(numbers)


def test_findings():
  found = card_text.findings(_page())
  assert [text[:24] for text in found] == [
    '1 caption (16.7 %) got n',
    'Equal to another caption',
    'Without the picture, cap',
  ]
  assert found[-1].endswith('object (100.0 %), attribute (100.0 %).')
  # A few pairs may be right by chance.
  few = Numbers(
    captions=5,
    negatives=5,
    kinds=[Row('object', 5, 5, blind_words=80.0)],
    all=Row('all', 5, 5, probability=25.0),
  )
  assert card_text.findings(Page('mine', few)) == []
  likely = dataclasses.replace(few, all=Row('all', 5, 5, probability=25.5))
  (text,) = card_text.findings(Page('mine', likely))
  assert 'to be true is 25.5 %' in text
  unknown = dataclasses.replace(few, all=Row('all', 5, 5))
  (text,) = card_text.findings(Page('mine', unknown))
  assert '--max-true' in text


@pytest.mark.parametrize('made', [{}, cards.make([captioned(0, CAPTION, 1.0)])])
def test_without_negatives_the_page_says_so(made):
  page = card.render(Page('mine', card_content.read_numbers(made)))
  Reader(page)
  assert 'not a single negative' in page
  assert 'id="scores"' not in page and '<svg' not in page
  assert 'The file does not say how it was made.' in page


def _damaged(fields, value):
  """Yields copies in which one part after the other is replaced."""
  for key, inner in fields.items():
    yield fields | {key: value}
    if isinstance(inner, dict):
      for damaged in _damaged(inner, value):
        yield fields | {key: damaged}


@pytest.mark.parametrize(
  'value',
  [None, 'x', -1, [], [[1]], {}, {'a': 'b'}, float('nan'), 10**400, [None, {}]],
)
def test_damaged_parts_are_left_out(value):
  damaged = [*_damaged(_card(), value)]
  assert len(damaged) > 80
  for made in damaged:
    numbers = card_content.read_numbers(made)
    assert numbers.captions in (6, 0)
    assert all(row.count >= 0 for row in numbers.kinds)
    card_text.findings(Page('mine', numbers))
  # Drawing takes longer: of all parts at once.
  whole = _card()
  for made in (dict.fromkeys(whole, value), whole | {'scores': value}):
    Reader(card.render(Page('mine', card_content.read_numbers(made))))


@pytest.mark.parametrize(
  'fields',
  [
    None,
    'x',
    {'bins': 3},
    {'bins': ['x', None, {}]},
    {'bins': [{'predicted': None, 'observed': None, 'count': 0}]},
    {'max_true': 0.5, 'ece': 0.1},
  ],
)
def test_there_is_no_calibration_without_points(fields):
  assert card_content.read_calibration(fields) is None


def test_a_calibration_is_read():
  bins = [
    {'low': 0, 'high': 0.5, 'predicted': 0.2, 'observed': 0.25, 'count': 8},
    {'low': 0.5, 'high': 1, 'predicted': None, 'observed': None, 'count': 0},
  ]
  found = card_content.read_calibration(
    {'bins': bins, 'max_true': 0.3, 'ece': 'x', 'auc': 0.9, 'true': 7}
  )
  assert found == Calibration([(0.2, 0.25, 8)], 0.3, None, 0.9, '', {'true': 7})


def test_edits_words_and_scores_are_marked():
  page = card.render(_page())
  assert '<bdi>a red <span class="run object" title="object">dog</span>' in page
  assert (
    '<span class="risk" style="--risk:75.00%" title="75.0 % wrong">'
    '<span class="run object">cow</span></span></bdi>' in page
  )
  # Preferred to the caption, and not corrected to it.
  assert page.count('▲') == 1 and '<bdi>a blue dog</bdi>' in page
  assert '3.00 <small>25.0%</small>' in page
  # Of scores from 1 to 3.
  assert 'class="of-caption" style="width:50.00%"' in page
  assert 'class="of-negative" style="width:100.00%"' in page
  restored = card.render(
    _page(examples=[_example(is_restored=True, negative_score=1.0)])
  )
  assert '✓</b> the caption' in restored and '▲' not in restored


def test_before_stage_2_there_are_no_words():
  example = _example(
    negative=[Piece('a cow')],
    corrected=None,
    probability=None,
    negative_probability=None,
  )
  page = card.render(_page(examples=[example]))
  assert 'class="risk"' not in page and 'corrected</small>' not in page
  assert 'its probability to be true' not in page


def test_pictures_are_shown_or_their_boxes():
  page = card.render(_page())
  assert '<rect x="0.0" y="25.0"' in page
  assert 'There are no photos, so boxes are drawn on a blank.' in page
  neither = _example(picture=content.Picture('p', None, ()))
  page = card.render(_page(examples=[neither]))
  assert 'class="frame' not in page and 'There are no photos.</p>' in page
  from PIL import Image

  shown = content.Picture('p', pictures.to_png(Image.new('RGB', (4, 4))), ())
  page = card.render(_page(examples=[_example(picture=shown)], has_photos=True))
  assert 'src="data:image/png' in page and 'There are no photos' not in page


def _pieces(text, edits, words=(), replaced=()):
  return card_pieces.of_negative(
    Negative(text, 0.0, 's', edits, words=words, replaced=replaced)
  )


def _shown(pieces):
  return [(one.text, one.kind, one.replaced) for one in pieces]


def test_captions_are_cut_at_edits():
  edits = (Edit('object', 2, 5, 'dog', 'cow', 2),)
  for text, expected in (
    ('a dog', [('a ', '', None), ('dog', 'object', None)]),
    ('a dog.', [('a ', '', None), ('dog', 'object', None), ('.', '', None)]),
    # Damaged places mark what there is.
    ('a d', [('a ', '', None), ('d', 'object', None)]),
    ('a', [('a', '', None)]),
  ):
    assert _shown(card_pieces.of_caption(text, edits)) == expected
  # An insertion replaces no character.
  inserted = (Edit('token', 2, 2, '', 'red ', 2),)
  assert _shown(card_pieces.of_caption('a dog', inserted)) == [
    ('a dog', '', None)
  ]


def test_words_are_found_in_the_text():
  edits = (Edit('object', 2, 5, 'dog', 'Doggy', 2),)
  pieces, words = _pieces(
    'A Doggy, café.',
    edits,
    ('a', 'dog', '##gy', ',', 'cafe', '.'),
    (0.1, 0.9, 0.8, 0.0, 0.2, 0.3),
  )
  assert not words and _shown(pieces) == [
    ('A', '', 0.1),
    (' ', '', None),
    ('Dog', 'object', 0.9),
    ('gy', 'object', 0.8),
    (',', '', 0.0),
    (' ', '', None),
    ('café', '', 0.2),
    ('.', '', 0.3),
  ]
  # With its accent as a character of its own.
  pieces, words = _pieces('cafe\u0301 x', (), ('cafe', 'x'), (0.5, 0.5))
  assert not words and pieces[0].text == 'cafe\u0301'


@pytest.mark.parametrize(
  'text, words',
  [
    ('a dog', ('a', '[UNK]')),
    ('a dog', ('a',)),
    ('a dog', ('a', 'dog', 'x')),
    ('a dog', ('a', 'do')),
    ('a dog', ('a', '\u0301')),
  ],
)
def test_other_words_stand_below_the_text(text, words):
  pieces, below = _pieces(text, (), words, (0.5,) * len(words))
  assert _shown(pieces) == [(text, '', None)]
  assert ''.join(one.text for one in below) == ' '.join(words)
  assert {one.replaced for one in below} == {0.5}
  example = _example(negative=pieces, words=below)
  assert 'read as</small>' in card.render(_page(examples=[example]))


def test_as_many_probabilities_as_words():
  pieces, below = _pieces('a dog', (), ('a', 'dog'), (0.5,))
  assert _shown(pieces) == [('a dog', '', None)] and not below


def test_every_reason_has_a_meaning():
  assert set(card_text.MEANINGS) == set(choosing.REASONS)


def test_unknown_reasons_are_shown_as_they_are():
  numbers = Numbers(negatives=1, dropped={'own_reason': 3, 'odd': 0})
  found = card_text.dropped(numbers)
  assert [(one.count, one.text, one.share) for one in found] == [
    (3, 'Own reason', '75.0 %'),
    (0, 'Not written like captions are', '0.0 %'),
  ]
