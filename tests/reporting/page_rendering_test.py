"""The page from plain data: escaping, gaps, marks, one valid file."""

import collections
import dataclasses
import html.parser
import io
import re

import pytest
from PIL import Image

from tagsdc_jax.reporting.page import content, pictures, rendering
from tagsdc_jax.reporting.page.content import Word

EVIL = '<script>alert("x")</script>'
# Elements that are never closed.
VOID = {'meta', 'img', 'br', 'path', 'rect', 'line'}


class Reader(html.parser.HTMLParser):
  """Collects elements and texts; fails where they are not nested."""

  def __init__(self, page):
    super().__init__()
    self.found = collections.defaultdict(list)
    self._open = []
    self.feed(page)
    self.close()
    assert not self._open

  def handle_starttag(self, tag, attrs):
    names = [name for name, _ in attrs]
    assert len(names) == len(set(names)), (tag, names)
    self.found[tag].append(dict(attrs))
    if tag not in VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.found[tag].append(dict(attrs))

  def handle_endtag(self, tag):
    if tag not in VOID:
      assert self._open.pop() == tag, (tag, self.getpos())


def _recalls(start, **sizes):
  return {
    way: {f'r{k}': start + k + add for k in (1, 5, 10)}
    for way, add in (('image_retrieval', 0.0), ('text_retrieval', 20.0))
  } | sizes


def _phase(name, start, **changes):
  lines = [{'update': i, 'loss': 1 / i, 'mlm': 2 / i} for i in range(1, 9)]
  return dataclasses.replace(
    content.Phase(
      name,
      settings={'num_updates': 8, 'phase': name, 'losses.mlm': 0.25},
      versions={'jax': '0.10.2'},
      updates=8,
      seconds=90.0,
      test=_recalls(start, images=24, captions=120),
      validation=_recalls(start + 1, images=8, captions=40),
      measures={
        'foil_accuracy': {
          'test': {'all': {'accuracy': 61.5}, 'colour': {'accuracy': 72.25}}
        },
        'synthetic_negatives': {
          'false': 80.0,
          'still_true': 15.0,
          'not_a_sentence': 5.0,
        },
        'retrieved_negatives': None,
      },
      train=lines,
      validations=[
        {'update': 4, 'mean_r1': 3.0},
        {'update': 8, 'mean_r1': 7.0},
      ],
    ),
    **changes,
  )


def _picture(name='test-1', has_png=True):
  png = pictures.to_png(Image.new('RGB', (6, 4), 'red')) if has_png else None
  return content.Picture(name, png, [(0.1, 0.2, 0.5, 0.75)])


def _examples(phase='dc', has_world=True, evil=''):
  """One picture of three captions, and one caption with two negatives."""
  has_words = phase == 'dc'

  def word(text, original=None, prob=0.125, correction=None):
    return Word(
      text,
      False,
      original,
      prob if has_words else None,
      correction if has_words else None,
    )

  ranked = [
    content.RankedCaption(
      f'caption {rank}{evil}', rank, 0.9 - 0.1 * rank, rank == 2
    )
    for rank in (1, 2, 3)
  ]
  caption = [Word('a'), Word(f'red{evil}'), Word('star')]
  negatives = [
    content.Negative(
      [word('a'), word('blue', f'red{evil}', 0.975, 'red'), word('star')],
      0.75,
      'false' if has_world else None,
    ),
    content.Negative(
      [word('a'), word('red'), word('a', 'star', 0.5, 'star')],
      0.25,
      'not a sentence' if has_world else None,
    ),
  ]
  picture = _picture(f'test-1{evil}', has_world)
  return content.Examples(
    phase,
    8,
    f'world/test{evil}',
    [content.PictureExample(picture, ranked, ranked[1])],
    [
      content.NegativesExample(
        picture, f'A red star.{evil}', caption, 0.5, negatives, 12, 9
      )
    ],
    num_captions=100,
    all_captions=120,
    has_oracle=has_world,
  )


def _report(**changes):
  return dataclasses.replace(
    content.Report(
      'demo', [_phase('pretrain', 10.0), _phase('dc', 20.0)], _examples()
    ),
    **changes,
  )


@pytest.fixture(name='page', scope='module')
def _page():
  return rendering.render(_report())


def test_the_page_is_one_valid_file(page):
  assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
  found = Reader(page).found
  assert len(found['title']) == len(found['h1']) == 1
  assert not found['script'] and not found['link'] and not found['iframe']
  assert len(found['style']) == 1
  ids = [
    attrs['id']
    for elements in found.values()
    for attrs in elements
    if 'id' in attrs
  ]
  assert len(ids) == len(set(ids))
  links = [
    attrs['href']
    for elements in found.values()
    for attrs in elements
    if 'href' in attrs
  ]
  assert links and {link.removeprefix('#') for link in links} <= set(ids)
  assert all(
    image['src'].startswith('data:image/png;base64,') and image['alt']
    for image in found['img']
  )
  assert 'url(' not in page and 'http' not in page
  assert all(
    'aria-label' in attrs or attrs.get('aria-hidden') == 'true'
    for attrs in found['svg']
  )


def test_the_same_report_gives_the_same_bytes(page):
  assert rendering.render(_report()) == page


def test_everything_of_the_data_is_escaped():
  phase = _phase(
    'dc',
    20.0,
    settings={f'a.{EVIL}': EVIL, 'num_updates': 8},
    versions={EVIL: EVIL},
    parameters_sha256=EVIL,
  )
  page = rendering.render(
    _report(
      name=EVIL, phases=[phase], examples=_examples(evil=EVIL), notes=[EVIL]
    )
  )
  assert '<script' not in page
  Reader(page)
  # Also within attributes: the picture's alt, the title of a word.
  assert 'alt="Test picture test-1&lt;script&gt;' in page
  assert 'was red&lt;script&gt;' in page


@pytest.mark.parametrize(
  'gone, text',
  [
    ('measures', 'What the oracle measures'),
    ('test', 'Recall at k'),
    ('train', 'Total loss'),
    ('validations', 'on validation<'),
  ],
)
def test_parts_that_are_missing_are_left_out(gone, text, page):
  assert text in page
  empty = {'measures': {}, 'test': None}.get(gone, ())
  phases = [
    dataclasses.replace(phase, **{gone: empty}) for phase in _report().phases
  ]
  without = rendering.render(_report(phases=phases))
  Reader(without)
  assert text not in without


def test_an_unfinished_run_has_a_page():
  phase = content.Phase('tags', settings={'num_updates': 9}, updates=0)
  page = rendering.render(
    content.Report('begun', [phase], notes=['Stage 1 is not finished.'])
  )
  found = Reader(page).found
  assert 'There are no results on the test split yet.' in page
  assert 'Stage 1 is not finished.' in page
  assert not found['img'] and not found['svg']
  assert {section['id'] for section in found['section']} == {
    'results',
    'settings',
  }


def test_numbers_that_are_missing_are_dashes(page):
  table = page[page.index('What the oracle measures') :]
  row = table[table.index('<th scope="row"') :].split('</tr>')[0]
  assert re.findall(r'<td>(.*?)</td>', row) == [
    '61.5',
    '72.2',
    '–',
    '–',
    '–',
    '–',
    '80.0',
    '15.0',
    '5.0',
    '–',
    '–',
    '–',
  ]


def test_recalls_with_chance_and_the_best_in_bold(page):
  rows = re.findall(
    r'<tr class="(\w+)">(.*?)</tr>',
    page[: page.index('What the oracle measures')],
    re.DOTALL,
  )
  cells = {kind: re.findall(r'<td(.*?)>(.*?)</td>', row) for kind, row in rows}
  assert list(cells) == ['chance', 'pretrain', 'dc']
  # Image R@k is k of 24; text R@1 5 of 120.
  assert [text for _, text in cells['chance']][:4] == [
    '4.2',
    '20.8',
    '41.7',
    '4.2',
  ]
  assert [text for _, text in cells['dc']] == [
    '21.0',
    '25.0',
    '30.0',
    '41.0',
    '45.0',
    '50.0',
    '31.0',
    '1.5 min',
  ]
  assert {attribute for attribute, _ in cells['dc'][:7]} == {' class="best"'}
  assert {attribute for attribute, _ in cells['pretrain']} == {''}


def test_chance_is_the_results_own_and_equal_sentences_have_a_line():
  known = _recalls(30.0)
  phase = _phase('tags', 10.0)
  page = rendering.render(
    _report(
      phases=[
        dataclasses.replace(
          phase,
          test=phase.test
          | {'chance': known, 'equal_sentences': _recalls(40.0)},
        )
      ]
    )
  )
  rows = re.findall(r'<tr class="(\w+)">(.*?)</tr>', page, re.DOTALL)[:3]
  assert [
    (kind, re.findall(r'<td.*?>(.*?)</td>', row)[:4]) for kind, row in rows
  ] == [
    ('chance', ['31.0', '35.0', '40.0', '51.0']),
    ('tags', ['11.0', '15.0', '20.0', '31.0']),
    ('tags', ['41.0', '45.0', '50.0', '61.0']),
  ]
  assert 'Test split, equal sentences as hits' in page


def test_a_single_run_shows_validation_with_its_own_chance():
  page = rendering.render(_report(phases=[_phase('tags', 10.0)]))
  labels = re.findall(
    r'<th scope="row"><i class="swatch \w+"></i>(.*?)</th>', page
  )
  assert labels[:4] == [
    'Chance, 24 images, 120 captions',
    'Test split',
    'Chance, 8 images, 40 captions',
    'Validation',
  ]


def test_right_captions_are_marked(page):
  section = page[page.index('id="pictures"') : page.index('id="negatives"')]
  items = re.findall(
    r'<li(.*?)><span class="mark" title="(.*?)">(.)</span> '
    r'<span class="said">(.*?)</span>',
    section,
  )
  assert [
    (bool(attributes), mark, text) for attributes, _, mark, text in items
  ] == [
    (False, '·', 'caption 1'),
    (True, '✓', 'caption 2'),
    (False, '·', 'caption 3'),
  ]
  assert "against 100 of the split's 120 captions" in section


def test_a_right_caption_further_down_is_shown_below():
  examples = _examples()
  later = content.RankedCaption('far down', 17, 0.1, True)
  item = dataclasses.replace(examples.pictures[0], best_right=later)
  page = rendering.render(
    _report(examples=dataclasses.replace(examples, pictures=[item]))
  )
  assert re.search(r'value="17".*far down', page)
  assert 'Best correct caption: rank 17' in page


def test_replaced_words_and_what_stage_two_says_of_them(page):
  section = page[page.index('class="sentences"') :]
  assert re.findall('<mark>(.*?)</mark>', section) == ['blue', 'a']
  assert 'title="97.5% replaced; was red"' in section
  assert 'width:97.50%' in section
  assert re.findall(r'<small>(\w+ .)</small>', section) == ['red ✓', 'star ✓']
  # Only the first scores above the caption's 50.0.
  assert re.findall(r'▲</b> ([\d.]+)', section) == ['75.0']
  assert re.findall(r'class="verdict ([\w-]+)"', section) == [
    'false',
    'not-a-sentence',
  ]


def test_no_word_heads_before_stage_two_and_no_oracle_for_real_data():
  page = rendering.render(
    _report(examples=_examples(phase='tags', has_world=False))
  )
  found = Reader(page).found
  assert not found['img']
  assert 'class="meter"' not in page and 'class="verdict' not in page
  assert 'Region boxes of test-1' in page and '“A red star.”' in page
  assert 'title="was red"' in page


def test_settings_that_differ_are_told_apart(page):
  rows = dict(
    re.findall(r'<tr( class="differs")?><th scope="row">([\w.]+)', page)
  )
  assert rows == {'': 'losses.mlm', ' class="differs"': 'phase'}


def test_pictures_are_enlarged_pngs():
  png = pictures.to_png(Image.new('RGB', (6, 4), 'red'))
  image = Image.open(io.BytesIO(png)).convert('RGB')
  assert image.size == (18, 12)
  assert image.getpixel((9, 6)) == (255, 0, 0)
