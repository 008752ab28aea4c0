"""The page of a data set from plain data: numbers, gaps, one valid file."""

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from tagsdc_jax.reporting.page import content, prepared, prepared_charts
from tagsdc_jax.reporting.page.prepared_content import (
  Caption,
  Example,
  Page,
  Run,
  Source,
  Split,
)
from tests.reporting.page_rendering_test import EVIL, Reader


def _jpeg():
  stream = io.BytesIO()
  Image.new('RGB', (6, 4), 'red').save(stream, 'JPEG')
  return stream.getvalue()


def _split(name='train', **changes):
  return dataclasses.replace(
    Split(
      name,
      pictures=3,
      captions=4,
      published=3,
      left_out=0,
      tokens={2: 3, 10: 1},
      regions={36: 2, 28: 1},
      phrases={'object': {0: 1, 2: 3}, 'relation': {0: 4}},
      bare=1,
      counts={'clipped': 0, 'cut': 0},
    ),
    **changes,
  )


def _example(evil='', **changes):
  picture = content.Picture(f'p1{evil}.jpg', _jpeg(), [(0, 0.25, 0.5, 1)], 1.5)
  caption = Caption(
    f'the text{evil}',
    [Run('a'), Run(f'dog{evil}', 'object'), Run('gy', is_piece=True)],
    3,
  )
  return dataclasses.replace(
    Example('train', picture, 2, [caption], 1), **changes
  )


def _page(evil='', **changes):
  return dataclasses.replace(
    Page(
      f'mine{evil}',
      [
        _split(left_out=2, reasons=[f'p7{evil}: broken'], unknown=2),
        _split('test', counts={'clipped': 3, 'cut': 0}),
      ],
      [f'train: odd{evil}'],
      [(f'halfpipe{evil}', 2)],
      examples=[_example(evil)],
      sources=[Source('captions', f'a{evil}.csv', 'CSV', 'sha256 ab', 1500)],
      choices={'phrases': f'words{evil}'},
    ),
    **changes,
  )


def test_the_page_is_one_valid_file_that_loads_nothing():
  page = prepared.render(_page())
  found = Reader(page).found
  assert not found['script'] and not found['link']
  assert 'url(' not in page and 'http' not in page
  assert [image['src'][:23] for image in found['img']] == [
    'data:image/jpeg;base64,'
  ]
  names = {a['href'] for a in found['a']}
  assert names == {'#splits', '#changes', '#examples', '#sources'}
  assert names == {f'#{s["id"]}' for s in found['section'] if 'id' in s}


def test_the_same_content_gives_the_same_bytes():
  assert prepared.render(_page()) == prepared.render(_page())


def test_everything_of_the_data_is_escaped():
  page = prepared.render(_page(EVIL))
  assert EVIL not in page and '<script' not in page
  # Names of data set and picture twice, 6 others once.
  assert page.count('&lt;script&gt;') == 10
  Reader(page)


def test_findings_come_before_the_numbers():
  page = prepared.render(_page())
  assert page.index('train: odd') < page.index('class="facts"')
  assert 'class="findings"' not in prepared.render(_page(findings=[]))


@pytest.mark.parametrize(
  'changes, said',
  [
    ({}, '3 pictures with 4 captions; no picture was left out; nothing was'),
    ({'left_out': None, 'counts': {}}, '3 pictures with 4 captions.'),
    ({'pictures': 1, 'captions': 1}, '1 picture with 1 caption;'),
    ({'left_out': 1}, '; 1 picture was left out;'),
    ({'left_out': 1234}, '; 1,234 pictures were left out;'),
    # 100 regions are stored, 20 were left out.
    (
      {'counts': {'clipped': 3, 'cut': 15, 'dropped': 5}},
      '; 3 boxes were clipped (2.5 %).',
    ),
    ({'counts': {'clipped': 1}}, '; 1 box was clipped (1 %).'),
  ],
)
def test_the_first_sentence_is_made_of_the_numbers(changes, said):
  assert said in prepared.lead([_split(**changes)])


def test_changes_have_shares_and_splits():
  splits = [
    _split(counts={'cut': 100, 'tokens_unknown': 2, 'overflowed': 7}),
    _split('test', counts={'cut': 0, 'tokens_unknown': 0}),
  ]
  rows = {row.text[:6]: row for row in prepared.changes(splits)}
  assert len(rows) == 3
  # 200 of 300 regions are stored; 2 x (3 x 2 + 10) tokens.
  assert rows['Region'].share == '33.3 % of regions'
  assert rows['Tokens'].share == '6.2 % of tokens'
  assert rows['Featur'].share == ''
  assert rows['Region'].splits == 'train 100'


def test_every_change_can_be_shown():
  for key, change in prepared.CHANGES.items():
    (row,) = prepared.changes([_split(counts={key: 2})])
    assert row.count == 2 and row.meaning and not row.splits
    assert row.share.endswith(change.of)


def test_what_was_not_changed_is_said_once():
  page = prepared.render(_page())
  said = re.search('Looked for, and not found: (.*?)<', page)
  assert said[1] == 'regions beyond the limit, left out.'


def test_the_table_has_a_row_per_split_and_one_of_all():
  page = prepared.render(_page(splits=[_split(), _split('test', published=5)]))
  (body,) = re.findall('<tbody>(.*?)</tbody>', page, re.DOTALL)
  rows = [
    re.findall('<t[hd][^>]*>([^<]*)', row) for row in body.split('</tr>')[:-1]
  ]
  numbers = ['0', '4', '4.0', '10', '1.5', '0.0', '25.0 %', '33.3', '36']
  assert rows[0] == ['train', '3', '3', *numbers]
  assert rows[1] == ['test', '3', '5', *numbers]
  assert rows[2][:5] == ['All', '6', '8', '0', '8']
  assert body.count('class="differs"') == 2  # 5, and the sum.


def test_published_numbers_of_some_splits_are_not_summed():
  total = prepared.total_of([_split(), _split('test', published=None)])
  assert total.published is None and total.pictures == 6


def test_unknown_words_are_named():
  page = prepared.render(_page())
  # Of 2 x (3 x 2 + 10).
  assert '2 tokens are [UNK], 6.2 % of all; most often <b>halfpipe</b>' in page
  page = prepared.render(_page(splits=[_split()]))
  assert 'Every token is in the vocabulary.' in page


def test_an_empty_data_set_has_a_page():
  Reader(prepared.render(Page('mine', [])))
  empty = _split(
    pictures=0, captions=0, tokens={}, regions={}, phrases={}, bare=0, counts={}
  )
  page = prepared.render(Page('mine', [empty]))
  assert '<figure' not in page and '0 pictures with 0 captions' in page


def test_words_are_colored_and_pieces_joined():
  page = prepared.render(_page())
  assert 'a <span class="run object" title="object">dog</span>gy</bdi>' in page
  assert 'unknown">[UNK]' in page  # The legend.


def test_without_words_the_text_is_shown_and_the_page_says_why():
  caption = Caption('the text', [], 3)
  page = prepared.render(
    _page(has_words=False, examples=[_example(captions=[caption])])
  )
  assert '<bdi>the text</bdi>' in page
  assert 'token ids without words' in page and 'class="run' not in page


def test_tokens_of_another_text_are_shown_with_it():
  caption = Caption('the text', [Run('other')], 1, is_decoded=False)
  page = prepared.render(_page(examples=[_example(captions=[caption])]))
  assert '<bdi>other</bdi>' in page and '<q>the text</q>' in page


def test_boxes_are_drawn_on_a_blank_of_the_same_shape():
  picture = content.Picture('p', None, [(0, 0.25, 0.5, 1)], 2.0)
  page = prepared.render(_page(examples=[_example(picture=picture)]))
  assert not Reader(page).found['img']
  assert 'style="aspect-ratio:2.0000;' in page
  assert '<rect x="0.0" y="25.0" width="50.0" height="75.0"/>' in page
  assert '2 regions, 1 drawn' in page and 'its blank is square' not in page
  page = prepared.render(
    _page(examples=[_example(picture=dataclasses.replace(picture, ratio=0))])
  )
  assert 'its blank is square' in page and 'style="aspect' not in page


def test_more_reasons_than_are_known_are_counted():
  split = _split(left_out=40, reasons=['broken'] * 20)
  page = prepared.render(_page(splits=[split]))
  assert 'train: 40 pictures left out' in page and 'and 20 more' in page


def test_bars_are_whole_numbers_and_sum_to_all():
  edges, shares = prepared_charts.bins({3: 1, 4: 2, 6: 1})
  np.testing.assert_allclose(edges, [2.5, 3.5, 4.5, 5.5, 6.5])
  np.testing.assert_allclose(shares, [25, 50, 0, 25])


def test_wide_ranges_have_few_bars():
  edges, shares = prepared_charts.bins(dict.fromkeys(range(1, 101), 2))
  # Bars of three numbers, the last one of the number 100 alone.
  np.testing.assert_allclose(np.diff(edges), 3.0)
  assert len(shares) == 34 and edges[0] == 0.5
  np.testing.assert_allclose(shares, [3.0] * 33 + [1.0])


def test_an_outlier_does_not_hide_the_others():
  edges, shares = prepared_charts.bins({5: 500, 6: 499, 900: 1})
  assert edges == [4.5, 5.5, 6.5]
  np.testing.assert_allclose(shares, [50, 50])
  page = prepared.render(
    _page(splits=[_split(captions=1000, tokens={5: 500, 6: 499, 900: 1})])
  )
  assert 'the last bar goes on to 900' in page


def test_equal_numbers_of_regions_are_a_sentence():
  page = prepared.render(_page(splits=[_split(regions={36: 3})]))
  assert 'Every picture has 36 regions.' in page
  assert page.count('<figure') == 2


@pytest.mark.parametrize(
  'count, total, said',
  [
    (0, 10, '0.0 %'),
    (1, 3, '33.3 %'),
    (1, 40, '2.5 %'),
    (1, 30_000, '0.0033 %'),
    (1, 10**9, 'below 0.001 %'),
    (1, 0, '–'),
  ],
)
def test_small_shares_stay_visible(count, total, said):
  assert prepared.share_text(count, total) == said


def test_sizes_of_files_are_readable():
  page = prepared.render(_page())
  assert 'CSV, 1.5 kB' in page
