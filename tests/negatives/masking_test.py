"""The law of masking, against its closed form and against recorded rates."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import arrays
from tagsdc_jax.data import phrases
from tagsdc_jax.negatives import masking
from tests.golden import reading
from tests.negatives import chi_square

_MASK_ID, _LOW, _HIGH = 8, 9, 211
_COPIES = 20000
_LENGTH, _ROWS = 14, 8
# Positions count from 0 without [CLS]. The first three were recorded.
_PHRASES = {
  'overlap': ((1, 2, 4), (4, 5, 6, 7), (0, 1), (3, 4), (1,), (4,), (8,)),
  'multi_token': ((2, 3, 4, 5, 6, 7), (9, 10), (1, 2, 3, 4), (2, 3, 4), (6, 7)),
  'empty': tuple((i,) for i in range(6)),
  'single': ((1, 3),),
  'repeated': ((0, 0, 1), (1, 2), (3, 3)),
  'padding': ((0,), (), (1, 2), (), (2, 3)),
  'equal': ((0, 1), (0, 1), (2,)),
}
_TOKENS = {
  'overlap': 9,
  'multi_token': 12,
  'empty': 6,
  'single': 4,
  'repeated': 5,
  'padding': 5,
  'equal': 3,
}


def _counts(phrases):
  counts = np.zeros((_ROWS, _LENGTH), np.int8)
  for row, phrase in zip(counts, phrases):
    for position in phrase:
      row[position + 1] += 1
  return counts


def _captions():
  rng = np.random.default_rng(0)
  token_ids = np.zeros((len(_PHRASES), _LENGTH), np.int32)
  for row, length in zip(token_ids, _TOKENS.values()):
    row[0], row[length + 1] = 6, 7
    row[1 : length + 1] = rng.integers(_LOW, _HIGH, length)
  return token_ids


def _law(phrases):
  """Returns {set of targets: probability}, over all subsets of phrases."""
  phrases = [p for p in phrases if p]
  listed = [x for phrase in phrases for x in phrase]
  probs = [
    np.mean([0.15 / listed.count(x) for x in phrase]) for phrase in phrases
  ]
  law = {}
  for chosen in itertools.product((False, True), repeat=len(phrases)):
    prob = np.prod([p if c else 1 - p for p, c in zip(probs, chosen)])
    if any(chosen):
      outcomes = [
        (frozenset().union(*itertools.compress(phrases, chosen)), prob)
      ]
    else:
      outcomes = [(frozenset(p), prob / len(phrases)) for p in phrases]
    for targets, share in outcomes:
      law[targets] = law.get(targets, 0) + share
  return law


@functools.cache
def _mask(seed=0):
  masked = jax.jit(
    functools.partial(
      masking.mask_tokens,
      num_copies=_COPIES,
      mask_rate=0.15,
      mask_id=_MASK_ID,
      random_range=(_LOW, _HIGH),
    )
  )(
    jax.random.key(seed),
    _captions(),
    np.stack([_counts(p) for p in _PHRASES.values()]),
  )
  return jax.tree.map(np.asarray, masked)


def _draws(name):
  """Returns (token_ids, is_target) of a caption without [CLS]."""
  row = list(_PHRASES).index(name)
  tokens = _TOKENS[name]
  masked = _mask()
  return (
    masked.token_ids[row, :, 1 : tokens + 1],
    masked.is_target[row, :, 1 : tokens + 1],
  )


def test_phrase_probs_by_hand():
  # Position 0 is listed 3 times (twice by one phrase), 1 twice, 2 once.
  # Rates: 0.05, 0.075, 0.15.
  counts = np.array([[2, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]], np.int8)
  # (2 x 0.05 + 0.075) / 3; (0.05 + 0.15) / 2; absent; 0.075.
  np.testing.assert_allclose(
    jax.jit(masking.phrase_probs, static_argnums=1)(counts, 0.15),
    [0.175 / 3, 0.1, 0, 0.075],
    rtol=1e-6,
  )


@pytest.mark.parametrize('name', ['overlap', 'multi_token', 'empty'])
def test_phrase_probs_are_the_recorded_ones(name):
  probs = masking.phrase_probs(jnp.asarray(_counts(_PHRASES[name])), 0.15)
  recorded = reading.load('masking.npz')[f'{name}/phrase_prob']
  np.testing.assert_allclose(probs[: len(recorded)], recorded, rtol=1e-6)
  assert not np.any(probs[len(recorded) :])


def test_inclusion_probability_of_a_phrase():
  # P(phrase i) = p_i + prod(1 - p_j) / n.
  counts = _counts(_PHRASES['padding'])[None]
  chosen = np.asarray(
    jax.jit(
      functools.partial(
        masking.choose_phrases, num_copies=_COPIES, mask_rate=0.15
      )
    )(jax.random.key(1), counts)
  )[0]
  # Position 2 is listed twice. Phrases 0: 0.15; 2: (0.15 + 0.075) / 2; 4 the
  # same; 1, 3 and 5 to 7 do not exist.
  p = np.array([0.15, 0.1125, 0.1125])
  expected = p + np.prod(1 - p) / 3
  rates = chosen.mean(axis=0)
  error = np.sqrt(expected * (1 - expected) / _COPIES)
  assert np.all(np.abs(rates[[0, 2, 4]] - expected) < 4 * error)
  assert not np.any(rates[[1, 3, 5, 6, 7]])
  assert np.all(chosen.any(axis=1))


@pytest.mark.parametrize('name', _PHRASES)
def test_sets_of_targets_follow_the_law(name):
  law = _law(_PHRASES[name])
  _, is_target = _draws(name)
  weights = 2 ** np.arange(is_target.shape[1])
  patterns = {sum(int(weights[x]) for x in s): p for s, p in law.items()}
  drawn, counts = np.unique(is_target @ weights, return_counts=True)
  assert set(drawn) <= set(patterns)
  found = dict(zip(drawn, counts))
  assert (
    chi_square.p_value(
      np.array([found.get(pattern, 0) for pattern in patterns]),
      np.array(list(patterns.values())),
    )
    > 1e-3
  )


@pytest.mark.parametrize('name', ['overlap', 'multi_token', 'empty'])
def test_rates_are_the_recorded_ones(name):
  recorded = reading.under(reading.load('masking.npz'), f'{name}/')
  _, is_target = _draws(name)
  rates = {
    'p_labelled': is_target.mean(axis=0),
    'p_joint': (is_target.T.astype(float) @ is_target) / _COPIES,
    'p_count': np.bincount(
      is_target.sum(axis=1), minlength=is_target.shape[1] + 1
    )
    / _COPIES,
  }
  for key, ours in rates.items():
    theirs, exact = recorded[key], recorded[f'analytic_{key}']
    # Both are estimates, of 20,000 and of 200,000 draws.
    error = np.sqrt(exact * (1 - exact) * (1 / _COPIES + 1 / 200000))
    assert np.all(np.abs(ours - theirs) <= 4.5 * error), key
    assert np.all(np.abs(ours - exact) <= 4.5 * error), key


def test_law_is_the_recorded_closed_form():
  for name in ('overlap', 'multi_token', 'empty'):
    recorded = reading.load('masking.npz')[f'{name}/analytic_p_joint']
    joint = np.zeros_like(recorded)
    for targets, prob in _law(_PHRASES[name]).items():
      joint[np.ix_(sorted(targets), sorted(targets))] += prob
    np.testing.assert_allclose(joint, recorded, atol=1e-9)


def test_what_targets_become():
  token_ids, is_target = _draws('overlap')
  original = _captions()[0, 1:10]
  new, old = (
    token_ids[is_target],
    np.broadcast_to(original, token_ids.shape)[is_target],
  )
  words = _HIGH - _LOW
  counts = [
    np.sum(new == _MASK_ID),
    np.sum((new != _MASK_ID) & (new != old)),
    np.sum(new == old),
  ]
  # A random word is the same one in 1 of 202 cases.
  probs = [0.8, 0.1 * (1 - 1 / words), 0.1 + 0.1 / words]
  assert chi_square.p_value(np.array(counts), np.array(probs)) > 1e-3
  recorded = reading.under(reading.load('masking.npz'), 'overlap/')
  for key, prob in zip(('mask', 'changed', 'same'), probs):
    rate = recorded[f'p_{key}_given_labelled']
    np.testing.assert_allclose(rate, prob, atol=0.006)


def test_random_words_are_uniform_and_in_range():
  masked = _mask()
  original = np.broadcast_to(_captions()[:, None], masked.token_ids.shape)
  # Each target is random with 0.1; words equal to the original cannot be told
  # from unchanged ones, so take targets whose original is another word.
  for word in (_LOW, _HIGH - 1):
    assert np.any(masked.token_ids[masked.is_target] == word)
  changed = masked.token_ids[
    masked.is_target
    & (masked.token_ids != _MASK_ID)
    & (masked.token_ids != original)
  ]
  assert changed.min() == _LOW and changed.max() == _HIGH - 1
  # A target's own word is missing among its changed ones: mix the laws.
  targets = masked.is_target.sum(axis=1)
  probs = np.zeros(_HIGH)
  for row, weights in zip(_captions(), targets):
    for word, weight in zip(row, weights):
      others = np.arange(_LOW, _HIGH) != word
      probs[_LOW:] += weight * others / others.sum()
  counts = np.bincount(changed, minlength=_HIGH)
  assert chi_square.p_value(counts, probs / probs.sum()) > 1e-3


def test_tokens_are_replaced_independently():
  token_ids, is_target = _draws('single')
  assert np.all(is_target[:, [1, 3]]) and not np.any(is_target[:, [0, 2]])
  is_mask = token_ids[:, [1, 3]] == _MASK_ID
  pairs = np.bincount(is_mask @ [1, 2], minlength=4)
  probs = np.array([0.04, 0.16, 0.16, 0.64])
  assert chi_square.p_value(pairs, probs) > 1e-3
  # Neighbouring copies, too.
  following = np.bincount(
    np.stack([is_mask[:-1:2, 0], is_mask[1::2, 0]], 1) @ [1, 2], minlength=4
  )
  assert chi_square.p_value(following, probs) > 1e-3


def test_other_positions_stay():
  masked = _mask()
  original = np.broadcast_to(_captions()[:, None], masked.token_ids.shape)
  keep = ~masked.is_target
  assert np.array_equal(masked.token_ids[keep], original[keep])
  is_word = np.zeros((len(_TOKENS), _LENGTH), bool)
  for row, length in zip(is_word, _TOKENS.values()):
    row[1 : length + 1] = True
  # [CLS], [SEP] and padding are never targets; every copy has a target.
  assert not np.any(masked.is_target & ~is_word[:, None])
  assert np.all(masked.is_target.any(axis=2))


def test_same_key_same_draw_and_jit():
  arguments = (_captions(), np.stack([_counts(p) for p in _PHRASES.values()]))
  draw = functools.partial(
    masking.mask_tokens,
    num_copies=3,
    mask_rate=0.15,
    mask_id=_MASK_ID,
    random_range=(_LOW, _HIGH),
  )
  jitted = jax.jit(draw)
  first = jitted(jax.random.key(3), *arguments)
  again = jitted(jax.random.key(3), *arguments)
  other = jitted(jax.random.key(4), *arguments)
  plain = draw(jax.random.key(3), *(jnp.asarray(a) for a in arguments))
  for same in (again, plain):
    jax.tree.map(np.testing.assert_array_equal, first, same)
  assert not np.array_equal(first.is_target, other.is_target)
  assert not np.array_equal(first.token_ids, other.token_ids)


def test_units_by_hand():
  # [CLS] x y z [SEP] [PAD], with the phrase "x y".
  counts = np.zeros((1, 1, 6), np.int8)
  counts[0, 0, 1:3] = 1
  tokens = np.zeros((1, 6, 6), np.int8)
  tokens[0, [1, 2, 3], [1, 2, 3]] = 1
  unused = dict.fromkeys(f.name for f in dataclasses.fields(arrays.MicroBatch))
  batch = arrays.MicroBatch(
    **unused
    | {
      'texts': arrays.Texts(jnp.zeros((1, 6), jnp.int32), jnp.array([5])),
      'phrase_counts': jnp.asarray(counts),
      'phrase_kinds': jnp.array([[phrases.ATTRIBUTE]], jnp.int8),
    }
  )
  of = lambda unit: masking.units(unit, batch)
  np.testing.assert_array_equal(of('phrase'), counts)
  np.testing.assert_array_equal(of('token'), tokens)
  np.testing.assert_array_equal(
    of('both'), np.concatenate([counts, tokens], axis=1)
  )
  np.testing.assert_array_equal(of('attribute'), counts)
  for unit in ('object', 'relation'):
    np.testing.assert_array_equal(of(unit), 0 * counts)
  # A word of a phrase is listed twice: 0.15 / 2 each; z once.
  np.testing.assert_allclose(
    masking.phrase_probs(of('both'), 0.15)[0],
    [0.075, 0, 0.075, 0.075, 0.15, 0, 0],
    rtol=1e-6,
  )
