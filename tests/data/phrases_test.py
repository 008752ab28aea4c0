import numpy as np
import pytest

from tagsdc_jax.data import phrases as phrases_lib
from tagsdc_jax.data.dataset import Caption
from tagsdc_jax.errors import UserError


def test_order_is_node_attribute_relation():
  tree = {
    'relation': [{'ids': [0, 3]}],
    'node': [{'ids': [3]}, {'ids': [0]}],
    'attribute': [{'ids': [2, 3]}],
  }
  assert phrases_lib.phrases_from_tree(tree, 4, '7') == (
    ((3,), (0,), (2, 3), (0, 3)),
    (
      phrases_lib.OBJECT,
      phrases_lib.OBJECT,
      phrases_lib.ATTRIBUTE,
      phrases_lib.RELATION,
    ),
  )


def test_what_is_skipped_and_what_is_kept():
  tree = {
    'node': [
      {'ids': None},
      {'text': 'dog'},
      {'ids': []},
      {'ids': [1]},
      {'ids': [1]},
    ],
    'relation': [{'ids': [1, 2, 1]}],
    'attribute': None,
    'other': [{'ids': [99]}],
  }
  assert phrases_lib.phrases_from_tree(tree, 3, '7') == (
    ((1,), (1,), (1, 2, 1)),
    (1, 1, 3),
  )


@pytest.mark.parametrize('tree', [None, {}, {'node': []}])
def test_no_phrases(tree):
  assert phrases_lib.phrases_from_tree(tree, 3, '7') == ((), ())


@pytest.mark.parametrize('position', [3, -1])
def test_position_beyond_the_caption(position):
  tree = {'node': [], 'attribute': [{'ids': [0, position], 'text': 'red dog'}]}
  with pytest.raises(UserError) as raised:
    phrases_lib.phrases_from_tree(tree, 3, '7')
  for part in (
    'caption 7',
    "'red dog'",
    f'position {position}',
    '0..2',
    '3 tokens',
  ):
    assert part in str(raised.value)


@pytest.mark.parametrize(
  'tree, message',
  [
    ([1], 'tree must be a dict'),
    ({'node': {'ids': [0]}}, 'node must be a list'),
    ({'node': [[0]]}, 'node 0 must be a dict'),
    ({'node': [{'ids': 0}]}, 'ids of node 0 must be a list'),
    ({'node': [{'ids': ['0']}]}, 'ids of node 0 must be a list'),
  ],
)
def test_malformed_tree(tree, message):
  with pytest.raises(UserError, match=f'caption 7: {message}'):
    phrases_lib.phrases_from_tree(tree, 3, '7')


def test_phrase_counts_by_hand():
  counts = phrases_lib.phrase_counts([(0, 2), (2, 2, 2), (1,)], 3, 4, 6)
  np.testing.assert_array_equal(
    counts,
    [
      [0, 1, 0, 1, 0, 0],
      [0, 0, 0, 3, 0, 0],
      [0, 0, 1, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],
    ],
  )
  assert counts.dtype == np.int8


def test_phrase_counts_without_phrases_or_offset():
  np.testing.assert_array_equal(
    phrases_lib.phrase_counts((), 2, 3, 4, offset=0),
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]],
  )


@pytest.mark.parametrize(
  'phrases, message',
  [
    ([(0,), (1,)], 'at most max_phrases = 1 phrases, got 2'),
    ([(3,)], r'must be 0\.\.2 .*got 3'),
    ([(-1,)], 'got -1'),
    ([(0,) * 128], 'at most 127 times'),
  ],
)
def test_phrase_counts_errors(phrases, message):
  with pytest.raises(UserError, match=message):
    phrases_lib.phrase_counts(phrases, 3, 1, 5)


def test_phrase_counts_row_too_short():
  with pytest.raises(UserError, match='fit a row of 3'):
    phrases_lib.phrase_counts([(2,)], 3, 1, 3)


@pytest.mark.parametrize('phrases, expected', [(((0,), (0,)), 2), ((), 5)])
def test_num_phrases(phrases, expected):
  caption = Caption('7', 0, np.arange(5, dtype=np.int32), phrases, '')
  assert phrases_lib.num_phrases(caption) == expected
