"""Checks annotated shapes and types while tests run, see conftest.py."""

from collections.abc import Callable

import beartype

# Rooms and files whose annotations are checked. Of the data those that collate:
# what reads files and settings checks them itself, with messages for users.
ROOMS = (
  'tagsdc_jax.arrays',
  'tagsdc_jax.data.assembling',
  'tagsdc_jax.data.boxes',
  'tagsdc_jax.data.loader',
  'tagsdc_jax.data.phrases',
  'tagsdc_jax.data.regions',
  'tagsdc_jax.engines',
  'tagsdc_jax.losses',
  'tagsdc_jax.models',
  'tagsdc_jax.negatives',
  'tagsdc_jax.objectives',
)


def check(function: Callable) -> Callable:
  """Returns a function that checks its arguments and its result.

  Constructors are left alone: JAX rebuilds structs with leaves that are no
  arrays, such as None, shapes or bare objects.
  """
  return (
    function if function.__name__ == '__init__' else beartype.beartype(function)
  )
