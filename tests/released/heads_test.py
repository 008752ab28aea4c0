"""Tests what the release's stages start from."""

import numpy as np
import pytest

from tagsdc_jax.released import heads


def _params():
  """Heads of a network of width 1; every number is another one."""
  return {
    name: {'kernel': np.array([kernel]), 'bias': np.array(bias)}
    for name, kernel, bias in (
      ('itm_output', [1.0, 2], [3.0, 4]),
      ('rank_output', [5.0], [6.0]),
      ('disc_output', [7.0, 8], [9.0, 10]),
      ('mlm_output', [11.0], [12.0]),
      ('correction_output', [13.0], [14.0]),
    )
  }


@pytest.mark.parametrize('came_from', ['pretrain', 'tags', 'dc'])
def test_stage_2_starts_from_the_match_row(came_from):
  head = heads.start_heads(_params(), came_from, 'dc')['rank_output']
  assert (head['kernel'], head['bias']) == ([[2]], [4])


def test_stage_1_goes_on_with_its_own_head():
  head = heads.start_heads(_params(), 'tags', 'tags')['rank_output']
  assert (head['kernel'], head['bias']) == ([[5]], [6])
