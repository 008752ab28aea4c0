"""Phrases that change places: by hand, and as a whole."""

import types

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.data import phrases
from tagsdc_jax.negatives import source, word_swap

_OBJECT, _ATTRIBUTE = phrases.OBJECT, phrases.ATTRIBUTE
# [CLS] a red ball and a light blue cube [SEP] [PAD]
_CAPTION = [2, 10, 20, 30, 11, 10, 21, 22, 31, 3, 0]
_PHRASES = [(2, 3), (7, 8), (1, 2), (5, 6, 7), (0, 4)]
_KINDS = [_OBJECT, _OBJECT, _ATTRIBUTE, _ATTRIBUTE, _ATTRIBUTE]


def _inputs(positions, kinds, num_swaps=4, seed=0):
  """A caption with phrases as token positions, [CLS] not counted."""
  counts = phrases.phrase_counts(positions, 8, len(kinds), 11)[None]
  batch = arrays.MicroBatch(
    None,
    None,
    arrays.Texts(jnp.array([_CAPTION], jnp.int32), jnp.array([10])),
    None,
    jnp.asarray(counts),
    jnp.array([kinds], jnp.int8),
    *[None] * 5,
  )
  config = settings.Settings(negatives=settings.Negatives(num_swaps=num_swaps))
  engine = types.SimpleNamespace(task=types.SimpleNamespace(settings=config))
  return source.Inputs(
    engine,
    None,
    None,
    batch,
    source.Keys(*jax.random.split(jax.random.key(seed), 3)),
  )


def _valid(sentences):
  return [
    row
    for row in range(sentences.is_valid.shape[1])
    if sentences.is_valid[0, row]
  ]


def test_phrases_of_equal_length():
  found = word_swap.word_swap(
    _inputs([(2,), (7,), (1,)], [_OBJECT, _OBJECT, _ATTRIBUTE])
  )
  (row,) = _valid(found)
  np.testing.assert_array_equal(
    found.token_ids[0, row], [2, 10, 20, 31, 11, 10, 21, 22, 30, 3, 0]
  )
  np.testing.assert_array_equal(np.flatnonzero(found.is_target[0, row]), [3, 8])
  np.testing.assert_array_equal(found.originals[0, row], _CAPTION)
  assert found.num_tokens[0, row] == 10


def test_phrases_of_different_length_move_what_is_between():
  # The later phrase is given first.
  found = word_swap.word_swap(_inputs([(5, 6), (1,)], [_ATTRIBUTE] * 2))
  (row,) = _valid(found)
  np.testing.assert_array_equal(
    found.token_ids[0, row], [2, 10, 21, 22, 30, 11, 10, 20, 31, 3, 0]
  )
  # "light blue" stands where "red" was, which has no second word; "red" where
  # "light" was. What is between is itself.
  np.testing.assert_array_equal(
    found.originals[0, row], [2, 10, 20, -1, 30, 11, 10, 21, 31, 3, 0]
  )
  np.testing.assert_array_equal(np.flatnonzero(found.is_target[0, row]), [2, 7])


def test_what_is_not_swapped():
  for positions, kinds in (
    ([(2,), (7,)], [_OBJECT, _ATTRIBUTE]),  # Of different kinds.
    ([(2,), (7,)], [0, 0]),  # Of no known kind.
    ([(1, 2), (2, 3)], [_OBJECT] * 2),  # They overlap.
    ([(1, 3), (5,)], [_OBJECT] * 2),  # One is broken.
    ([(2,)], [_OBJECT]),
  ):
    found = word_swap.word_swap(_inputs(positions, kinds))
    assert not _valid(found), (positions, kinds)


def test_pairs_are_drawn_without_replacement():
  positions, kinds = [(i,) for i in range(6)], [_OBJECT] * 6
  every = word_swap.word_swap(_inputs(positions, kinds, 20))
  rows = {
    tuple(ids)
    for ids in np.asarray(every.token_ids[0])[np.array(_valid(every))]
  }
  assert len(_valid(every)) == 15  # 6 * 5 / 2
  # One is the caption, as "a" stands twice; the caller's filter drops it.
  assert len(rows) == 15 and tuple(_CAPTION) in rows
  few, other = (
    word_swap.word_swap(_inputs(positions, kinds, 3, seed)) for seed in (0, 1)
  )
  assert len(_valid(few)) == 3
  np.testing.assert_array_equal(
    few.token_ids, word_swap.word_swap(_inputs(positions, kinds, 3)).token_ids
  )
  assert not np.array_equal(few.token_ids, other.token_ids)
  jitted = jax.jit(
    lambda keys: (
      word_swap.word_swap(
        _inputs(positions, kinds, 3)._replace(keys=keys)
      ).token_ids
    )
  )
  np.testing.assert_array_equal(
    jitted(_inputs(positions, kinds, 3).keys), few.token_ids
  )
