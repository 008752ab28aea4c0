"""Training compares as recorded, and every changed output is noticed.

As `noticing_test`, for the files that the train step is compared with.
"""

import functools
import re

import numpy as np
import pytest

from tagsdc_jax.comparison import comparing, items
from tests.comparison import opening

_LOSS, _SCORE, _GRADIENT = 1e-4, 5e-4, 5e-5
_SYNTHETIC = (
  ('.*/(c1_penalty|c2_penalty|effect_num|selected_.*|mlm_position_ids)', 1),
  ('.*/mlm_attn_masks', -1),
  ('.*/(mlm_gather_index|positive_gather_index)', 1),
  ('.*/(mlm|rank)_corrects', 1),
  ('.*/(raw_scores|sigmoid_scores|penalized_scores|boundary_gap)', _SCORE),
  ('.*/(hinge_min_abs|rank_adv_scores)', _SCORE),
  ('.*/(masked_lm|rank)_loss(_mean)?', _LOSS),
)
# {file: (arrays that are outputs, what is added to one of their numbers)}; the
# first pattern that a name matches as a whole counts.
_OUTPUTS = {
  'hard_negatives.npz': (
    ('.*/(attn_masks|trimmed_attn_masks)', -1),
    ('.*/(position_ids|rank_corrects|selected_sorted)', 1),
    ('.*/(scores|sigmoid_scores_second_pass|.*_gap|hinge_.*)', _SCORE),
    ('.*/rank_loss.*', _LOSS),
  ),
  'synthetic_stage1.npz': _SYNTHETIC,
  'synthetic_stage2.npz': (
    ('.*/(syn_txt_labels|disc_labels|disc_.*(corrects|samples))', 1),
    ('.*/(correction_corrects|correction_texts|all_.*)', 1),
    ('.*/disc_p', _SCORE),
    ('clamp/grad_.*', 1e-2),
    # Capped at 23.03, of which 1e-5 may be missed.
    ('clamp/(disc|correction)_loss', 2.5e-3),
    ('.*/(disc|correction)_loss(_mean)?', _LOSS),
    *_SYNTHETIC,
  ),
  'gradients.npz': (
    ('.*/loss/.*|.*/total_./loss', _LOSS),
    ('.*/grad_global_norm', 1e-2),
    (r'.*/grad/(.*/)?uniter\.embeddings\.LayerNorm\.weight', 1e-2),
  ),
  **{
    f'trajectory_{name}.npz': (
      ('losses|total_loss', _LOSS),
      ('grad_norm', 1e-1),
      ('lr', 1e-5),
      ('selected_.|p01/selected_gi|p01/i_gather_index', 1),
      ('scores_.|gap_.*|p01/scores_gi', 1e-3),
      (r'param_(after_1|final)/(itm_output|uniter\.pooler.*)\.weight', 2e-4),
    )
    for name in ('stage1', 'stage1_as_released', 'stage2')
  },
}
# An item that stands for many arrays names the group of them.
_TOGETHER = (r'(stage\d/(?:grad/\w+|total_\w/grad))/.*', r'(param_\w+)/.*')


def _amount(key, patterns):
  return next(
    (amount for pattern, amount in patterns if re.fullmatch(pattern, key)), None
  )


def _changed(key, array, amount):
  """Returns the array with one number moved."""
  array = np.array(array)
  # The last row's last token may be padding, the first score depends on the
  # variant.
  array.flat[0 if key.endswith('index') else -1] += amount
  return array


@functools.cache
def _compare(name, is_changed):
  changes = {}
  if is_changed:
    changes = {
      key: _changed(key, array, _amount(key, _OUTPUTS[name]))
      for key, array in opening.arrays(name).items()
      if _amount(key, _OUTPUTS[name]) is not None
    }
    assert changes
  recorded = opening.recorded(name, changes)
  return list(comparing.FILES[name](recorded)), recorded, list(changes)


def _names(item, key):
  """Whether an item is about a recorded array."""
  if item.name.partition(',')[0] == key:
    return True
  if key.startswith('p01/') and item.name == f'pNN/{key[4:]}':
    return True
  return any(
    match[1] == item.name or item.name.startswith(f'{match[1]}/')
    for match in (re.fullmatch(p, key) for p in _TOGETHER)
    if match
  )


@pytest.mark.parametrize('name', _OUTPUTS)
def test_the_file_compares_as_recorded(name):
  found, recorded, _ = _compare(name, False)
  assert found and [item for item in found if not item.holds] == []
  assert recorded.arrays(name).unused() == []


@pytest.mark.parametrize('name', _OUTPUTS)
def test_changes_are_noticed_and_named(name):
  found, _, changed = _compare(name, True)
  failing = [item for item in found if item.verdict == items.FAILS]
  missed = [
    key for key in changed if not any(_names(item, key) for item in failing)
  ]
  assert missed == []
