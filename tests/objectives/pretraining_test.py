"""Pretraining: whom a caption meets."""

import jax
import numpy as np

from tagsdc_jax.objectives import pretraining


def test_partners_are_distinct_and_never_the_row_itself():
  partners = np.asarray(pretraining.in_batch_partners(jax.random.key(0), 6, 5))
  for row, others in enumerate(partners):
    assert sorted([row, *others]) == [0, 1, 2, 3, 4, 5]
  again = pretraining.in_batch_partners(jax.random.key(0), 6, 5)
  np.testing.assert_array_equal(partners, again)
