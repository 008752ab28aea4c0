"""Tests of what a file must contain."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.conversion import checking, name_rules
from tests.conversion import networks

FILE = Path('some.pt')


@pytest.mark.parametrize('phase', settings.PHASES)
def test_a_whole_network(phase):
  contents = checking.check(networks.make(phase), FILE)
  assert contents == checking.Contents(phase, networks.SIZES, ())


def test_one_layer():
  contents = checking.check(networks.make('tags', 1), FILE)
  assert contents.sizes == networks.SIZES | {'num_layers': 1}


def test_half_precision_is_taken():
  weights = {
    name: array.astype(np.float16)
    for name, array in networks.make('tags').items()
  }
  assert checking.check(weights, FILE).phase == 'tags'


def test_heads_of_uniters_pretraining_are_dropped_there_only():
  extra = {
    'feat_regress.bias': np.ones(5),
    'region_classifier.net.0.bias': np.ones(8),
  }
  contents = checking.check(networks.make('pretrain') | extra, FILE)
  assert contents.phase == 'pretrain' and contents.dropped == tuple(extra)
  with pytest.raises(
    errors.UserError,
    match=r'2 unknown \(feat_regress.bias, '
    r'region_classifier.net.0.bias\)',
  ):
    checking.check(networks.make('tags') | extra, FILE)


def test_everything_wrong_is_in_one_message():
  weights = networks.make('dc')
  del weights['itm_output.bias'], weights['rank_output.weight']
  weights |= {
    'wings.left': np.ones(2),
    'itm_output.gain': np.ones(2),
    name_rules.TIED[0]: np.ones((11, 7), np.float32),
    'uniter.encoder.layer.1.output.dense.weight': np.ones((12, 8)),
    'uniter.pooler.dense.bias': np.ones((), np.float32),
    'disc_output.bias': np.ones(2, np.int64),
  }
  with pytest.raises(errors.UserError) as error:
    checking.check(weights, FILE)
  assert str(error.value) == (
    'some.pt looks like stage 2 (DC) by its names, but does not match: '
    '2 missing (itm_output.bias, rank_output.weight); '
    '2 unknown (wings.left, itm_output.gain); '
    '3 of the wrong shape (uniter.encoder.layer.1.output.dense.weight is '
    '[12, 8], expected [8, 12], uniter.pooler.dense.bias is [], expected '
    '[8], cls.predictions.decoder.weight is [11, 7], expected [11, 8]); '
    '1 not floating point (disc_output.bias is int64). Nothing was '
    'converted; pass a state_dict as saved by the release'
  )


def test_the_word_embedding_itself_may_be_the_odd_one():
  weights = networks.make('tags')
  weights[name_rules.WORDS] = np.ones((13, 8), np.float32)
  with pytest.raises(
    errors.UserError,
    match=r'1 of the wrong shape '
    r'\(uniter.embeddings.word_embeddings.weight is '
    r'\[13, 8\], expected \[11, 8\]\)',
  ):
    checking.check(weights, FILE)


def test_a_layer_that_is_missing_in_the_middle():
  weights = {
    name: array
    for name, array in networks.make('tags', 4).items()
    if '.layer.2.' not in name
  }
  with pytest.raises(
    errors.UserError, match='16 missing.*layer.2.*; 16 unknown .*layer.3.'
  ):
    checking.check(weights, FILE)


def test_a_size_that_nothing_shows():
  weights = networks.make('tags')
  weights['uniter.embeddings.position_embeddings.weight'] = np.ones(
    48, np.float32
  )
  with pytest.raises(errors.UserError, match=r'is \[48\], expected \[\?, 8\]'):
    checking.check(weights, FILE)


@pytest.mark.parametrize(
  'weights, shown',
  [
    (
      {'conv1.weight': np.ones(3), 'fc.bias': np.ones(1)},
      'UNITER or TAGS-DC, got conv1.weight, fc.bias ...; pass',
    ),
    ({}, 'UNITER or TAGS-DC, got nothing ...; pass'),
  ],
)
def test_something_else_is_a_short_line(weights, shown):
  with pytest.raises(errors.UserError, match=shown):
    checking.check(weights, FILE)


def test_a_size_of_nothing():
  weights = networks.make('tags')
  name = 'uniter.img_embeddings.img_linear.weight'
  shown = {
    n: np.ones([0 if s == 5 else s for s in x.shape], np.float32)
    for n, x in weights.items()
  }
  with pytest.raises(errors.UserError, match=r'[12] empty \(.*' + name):
    checking.check(shown, FILE)


@pytest.mark.parametrize(
  'before',
  [
    'module.',
    '_orig_mod.',
    'module._orig_mod.',
    '_orig_mod.module.',
    'state_dict.module.',
    'model.',
  ],
)
def test_what_wraps_a_network_is_taken_off(before):
  weights = networks.make('tags')
  found, taken = checking.unwrapped(
    {before + name: array for name, array in weights.items()}, FILE
  )
  assert taken == before and found.keys() == weights.keys()
  assert all(found[name] is array for name, array in weights.items())
  assert checking.unwrapped(weights, FILE) == (weights, '')
  assert checking.unwrapped({}, FILE) == ({}, '')


def test_names_that_are_wrapped_in_part_are_refused():
  weights = {
    'state_dict.module.a': 1,
    'state_dict.module.b': 1,
    'state_dict.c': 1,
  }
  with pytest.raises(
    errors.UserError,
    match=r'some.pt: only 2 of 3 names begin '
    r'with state_dict.module. \(the first of the others: '
    r'state_dict.c\)',
  ):
    checking.unwrapped(weights, FILE)


def test_numbers_that_are_not_finite_are_named():
  weights = {
    'a': np.ones((2, 3), np.float16),
    'b': np.ones(3),
    'c': np.arange(2),
    'd': np.ones((), ml_dtypes.bfloat16),
  }
  checking.check_finite(weights, FILE)
  weights['b'][1:] = np.nan, -np.inf
  with pytest.raises(errors.UserError) as error:
    checking.check_finite(weights, FILE)
  assert str(error.value) == (
    'some.pt must contain finite numbers only: b has 1 NaN and 1 infinite '
    'among 3 values. Nothing was converted; pass weights from before they '
    'diverged, or '
    'download them again'
  )
  weights['d'] = np.array(np.inf, ml_dtypes.bfloat16)
  weights['a'][0] = np.nan
  with pytest.raises(
    errors.UserError,
    match='range of float32, up to 3.4e38: '
    'rounded to it, a has 3 NaN among 6 values, as have 2 more of '
    '4 arrays',
  ):
    checking.check_finite(weights, FILE, is_rounded=True)


def test_old_names_are_renamed_unless_the_new_one_is_there():
  old = {'a.gamma': np.ones(1), 'a.beta': np.zeros(1), 'b.weight': np.ones(2)}
  renamed = checking.with_modern_names(old, FILE)
  assert list(renamed) == ['a.weight', 'a.bias', 'b.weight']
  assert renamed['a.bias'] is old['a.beta'] and 'a.gamma' in old
  with pytest.raises(errors.UserError, match='both a.gamma and a.weight'):
    checking.with_modern_names(old | {'a.weight': np.ones(1)}, FILE)
