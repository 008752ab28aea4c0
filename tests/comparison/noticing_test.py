"""Each file compares as recorded, and every changed output is noticed.

All outputs of a file are changed at once, one number of each, by ten times
its tolerance; each must then be named by an item that fails.
"""

import functools
import re

import numpy as np
import pytest

from tagsdc_jax.comparison import comparing, evaluation, items, masking
from tests.comparison import opening

# {file: (arrays that are outputs, what is added to one of their numbers)}; the
# first pattern that a name matches as a whole counts. What is exact is moved
# by one, or by a little if it is no whole number.
_OUTPUTS = {
  'forward.npz': (
    ('position_ids|attn_masks', 1),
    # Twice the release's own error where that is more than 5e-6.
    ('mlm_logits|correction_logits', 1.4e-4),
    ('f64/.*', None),
    (
      '.*_embedding|image_embedding_masked|hidden_.*|pooled|rank_scores.*|'
      'itm_logits|disc_probs|.*_only_hidden|probe/.*_out',
      1e-4,
    ),
  ),
  'optimizer.npz': (
    ('lr_.*/lr|lr_used', 2e-8),
    ('lr_schedule/table', 1e-9),
    (r'param_[126]/(itm|rank|disc)_output\.weight', 2e-5),
    ('grad_norms', 1e-3),
  ),
  'masking.npz': (
    ('.*/phrase_prob|.*/analytic_.*', 1e-5),
    ('.*/p_.*', 0.5),
    ('.*/random_token_min_max', 1),
    ('.*/random_token_hist', 2000),
  ),
  'lmdb_expected.npz': (
    ('(txt|img)/.*/(input_ids|combined|name2nbb)', 1),
    ('img/.*', 1e-3),
    ('(from|eval)_.*/(img_feat|img_pos_feat)', 1e-3),
    ('(from|eval)_.*', 1),
  ),
  'init_output.npz': (('.*', 1e-6),),
  'evaluation.npz': (
    ('.*/scores_f32', 2e-4),
    ('.*/scores_f16', 1.0),
    ('.*/evaluate|.*/result', 1e-8),
  ),
}
# Here a recorded order decides how others are compared: one at a time.
_METRICS = (
  ('.*/result.*', 1e-8),
  ('.*/image_retrieval_overcount', 1),
  ('.*/topk_.*', 1),
)
# An item that stands for many arrays names the file's scenario or part only.
_TOGETHER = (r'txt/[^/]+/', r'img/(\w+)/[^/]+/', r'(param_\d+)/.*')


@pytest.fixture(autouse=True, scope='module')
def _few_draws():
  before, masking.NUM_DRAWS = masking.NUM_DRAWS, 5000
  yield
  masking.NUM_DRAWS = before


@pytest.fixture(autouse=True, scope='module')
def _rank_once():
  # Scores do not depend on what is changed.
  before, kept = evaluation._rank, {}

  def rank(model, params, data):
    key = b''.join(
      params[name]['bias'].tobytes() for name in ('rank_output', 'itm_output')
    )
    if key not in kept:
      kept[key] = before(model, params, data)
    return kept[key]

  evaluation._rank = rank
  yield
  evaluation._rank = before


def _amount(key, patterns):
  return next(
    (amount for pattern, amount in patterns if re.fullmatch(pattern, key)), None
  )


def _changed(array, amount):
  """Returns the array with its largest number moved."""
  array = np.array(array)
  # Of rows of several meanings the last column is the rate.
  place = (
    np.unravel_index(np.argmax(np.abs(array)), array.shape)
    if array.shape[1:] != (4,)
    else (1, 3)
  )
  array[place] = (
    not array[place] if array.dtype == bool else array[place] + amount
  )
  return array


@functools.cache
def _compare(name, is_changed, x64=False):
  patterns, changes = _OUTPUTS.get(name, ()), {}
  if is_changed:
    changes = {
      key: _changed(array, _amount(key, patterns))
      for key, array in opening.arrays(name).items()
      if _amount(key, patterns) is not None
    }
  recorded = opening.recorded(name, changes, x64)
  return list(comparing.FILES[name](recorded)), recorded


def _names(item, key):
  """Whether an item is about a recorded array."""
  names = f'{item.name} {item.note}'
  if key in names:
    return True
  for pattern in _TOGETHER:
    part = re.match(pattern, key)
    if part and re.search(r'^(txt|img|param_\d+)', item.name):
      return part[1] in names if part.groups() else True
  return item.name == key.split('/')[0]


_KEYS = [
  (name, key)
  for name, patterns in _OUTPUTS.items()
  for key in opening.arrays(name)
  if _amount(key, patterns)
]


@pytest.mark.parametrize('name', [*_OUTPUTS, 'metrics.npz'])
def test_the_file_compares_as_recorded(name):
  found, recorded = _compare(name, False)
  assert found and [item for item in found if not item.holds] == []
  # Nothing in it is overlooked, but for what needs float64.
  unused = recorded.arrays(name).unused()
  assert [key for key in unused if not key.startswith('f64/')] == []


@pytest.mark.parametrize('name', _OUTPUTS)
def test_changes_are_noticed_and_named(name):
  failing = [
    item for item in _compare(name, True)[0] if item.verdict == items.FAILS
  ]
  missed = [
    key
    for file, key in _KEYS
    if file == name and not any(_names(item, key) for item in failing)
  ]
  assert missed == []


@pytest.mark.parametrize(
  'key',
  [key for key in opening.arrays('metrics.npz') if _amount(key, _METRICS)],
)
def test_changed_metrics_are_noticed(key):
  array = opening.arrays('metrics.npz')[key]
  if key.split('/')[1].startswith('topk'):
    # The last two of the first row change places, or become one.
    changed = np.array(array)
    changed.flat[0] = changed.flat[0] + 1 if changed.flat[0] == 0 else 0
  else:
    changed = _changed(array, _amount(key, _METRICS))
  found = comparing.FILES['metrics.npz'](
    opening.recorded('metrics.npz', {key: changed})
  )
  assert any(
    item.verdict == items.FAILS and item.name.startswith(key) for item in found
  )


def test_float64_is_as_recorded_and_noticed():
  name, prefix = 'forward.npz', 'f64/'
  keys = [key for key in opening.arrays(name) if key.startswith(prefix)]
  found = list(comparing.FILES[name](opening.recorded(name, x64=True)))
  exact = [item for item in found if item.name.startswith(prefix)]
  assert {
    key.partition(',')[0] for key in (item.name for item in exact)
  } == set(keys)
  assert all(item.holds and item.max_abs < 1e-12 for item in exact)
  changes = {key: _changed(opening.arrays(name)[key], 1e-9) for key in keys}
  failing = [
    item.name
    for item in comparing.FILES[name](opening.recorded(name, changes, x64=True))
    if item.holds is False
  ]
  assert set(keys) <= set(failing)
