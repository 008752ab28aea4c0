"""Tests that annotated shapes are checked in every room that is named."""

import importlib

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from tagsdc_jax import arrays
from tagsdc_jax.data import regions
from tagsdc_jax.engines import work
from tagsdc_jax.engines.packed import chunks
from tagsdc_jax.losses import triplet, words
from tagsdc_jax.models import dropout
from tagsdc_jax.negatives import filters, mining
from tagsdc_jax.objectives import pretraining
from tests import shapes


def _keys(number):
  return jax.random.split(jax.random.key(0), number)


_ints, _floats, _bools = (
  lambda *shape, dtype=dtype: np.zeros(shape, dtype)
  for dtype in (np.int32, np.float32, bool)
)


@pytest.mark.parametrize('room', shapes.ROOMS)
def test_rooms_exist(room):
  importlib.import_module(room)


@pytest.mark.parametrize(
  'call, name',
  [
    (lambda: regions.make_boxes7(_floats(2, 5)), 'boxes6'),
    (lambda: regions.make_boxes7(_ints(2, 6)), 'boxes6'),
    (lambda: dropout.keys_at(_keys(2), _ints(3), _ints(4)), 'places'),
    (
      lambda: filters.is_reference(_ints(3, 4, 5), _ints(2, 1, 5)),
      'references',
    ),
    (lambda: mining.select_hardest(_floats(2, 4), _bools(4, 2), 1), 'is_valid'),
    (lambda: words.word_loss(_floats(2, 9), _ints(3)), 'token_ids'),
    (
      lambda: triplet.triplet_loss(_floats(2), _floats(3), margin=0.2),
      'negative_probs',
    ),
    (lambda: work.rows(_ints(3), _bools(2)), 'is_needed'),
    (lambda: chunks.make_plan(_ints(3), _bools(2), (4,), 4), 'is_valid'),
    (
      lambda: pretraining.in_batch_partners(_keys(2), _bools(4, 4), None, 2),
      'key',
    ),
  ],
)
def test_wrong_shapes_and_dtypes_are_errors(call, name):
  with pytest.raises(jaxtyping.TypeCheckError, match=f"parameter '{name}'"):
    call()


def test_structs_take_what_jax_puts_in():
  texts = arrays.Texts(np.zeros((2, 3), np.int32), np.zeros(2, np.int32))
  assert jax.tree.map(lambda x: None, texts) == arrays.Texts(None, None)
  # Other axes under vmap and jit.
  masks = jax.jit(jax.vmap(lambda x: arrays.length_mask(x.num_tokens, 3)))(
    jax.tree.map(lambda x: jnp.stack([x, x + 2]), texts)
  )
  np.testing.assert_array_equal(masks[1, 0], [True, True, False])
