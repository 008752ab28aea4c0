"""Tests what a phase starts from."""

import numpy as np
import pytest

from tagsdc_jax.training import head_init


def _params():
  """Heads of a network of width 2; every number is another one."""
  return {
    'itm_output': {
      'kernel': np.array([[1.0, 2], [3, 4]]),
      'bias': np.array([5.0, 6]),
    },
    'rank_output': {'kernel': np.array([[7.0], [8]]), 'bias': np.array([9.0])},
    'disc_output': {
      'kernel': np.array([[10.0, 11], [12, 13]]),
      'bias': np.array([14.0, 15]),
    },
    'mlm_output': {'bias': np.array([16.0, 17])},
    'correction_output': {'bias': np.array([18.0, 19])},
  }


def _check_rank(params, kernel, bias):
  np.testing.assert_array_equal(params['rank_output']['kernel'], kernel)
  np.testing.assert_array_equal(params['rank_output']['bias'], bias)


@pytest.mark.parametrize(
  'came_from, phase, has_match_row, has_word_heads',
  [
    ('pretrain', 'pretrain', False, False),
    ('pretrain', 'tags', True, False),
    ('pretrain', 'dc', True, True),
    ('tags', 'tags', False, False),
    ('tags', 'dc', False, True),
    ('dc', 'dc', False, False),
  ],
)
def test_heads_that_are_new(came_from, phase, has_match_row, has_word_heads):
  before = _params()
  after = head_init.start_heads(before, came_from, phase)
  _check_rank(
    after,
    [[2], [4]] if has_match_row else [[7], [8]],
    [6] if has_match_row else [9],
  )
  for head, source in (
    ('disc_output', 'itm_output'),
    ('correction_output', 'mlm_output'),
  ):
    expected = before[source if has_word_heads else head]
    np.testing.assert_array_equal(after[head]['bias'], expected['bias'])
    if has_word_heads:  # A copy: training one must not change the other.
      assert not np.shares_memory(after[head]['bias'], before[source]['bias'])
  _check_rank(before, [[7], [8]], [9])


def test_reset_of_the_matching_head():
  before = _params()
  after = head_init.reset_rank_head(before)
  _check_rank(after, [[2], [4]], [6])
  _check_rank(before, [[7], [8]], [9])
  assert not np.shares_memory(
    after['rank_output']['bias'], before['itm_output']['bias']
  )
  for name in before.keys() - {'rank_output'}:
    assert after[name] is before[name]


def test_pretraining_ranks_by_the_difference_of_its_logits():
  _check_rank(
    head_init.matching_parameters(_params(), 'pretrain'), [[1], [1]], [1]
  )
  for phase in ('tags', 'dc'):
    _check_rank(
      head_init.matching_parameters(_params(), phase), [[7], [8]], [9]
    )
