"""Tests that annotated shapes are checked in every room that is named."""

import importlib

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from tagsdc_jax import arrays
from tagsdc_jax.data import regions
from tagsdc_jax.models import dropout
from tests import shapes


@pytest.mark.parametrize('room', shapes.ROOMS)
def test_rooms_exist(room):
  importlib.import_module(room)


@pytest.mark.parametrize(
  'call, name',
  [
    (lambda: regions.make_boxes7(np.zeros((2, 5), np.float32)), 'boxes6'),
    (lambda: regions.make_boxes7(np.zeros((2, 6), np.int32)), 'boxes6'),
    (
      lambda: dropout.keys_at(
        jax.random.split(jax.random.key(0), 2),
        jnp.zeros(3, int),
        jnp.zeros(4, int),
      ),
      'places',
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
