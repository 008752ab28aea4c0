"""Arrays of a file, and files that are damaged."""

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.comparison import stored


def test_arrays_remember_who_was_asked_for():
  arrays = stored.Arrays('f', {'a/x': 1, 'a/y': 2, 'b/x': 3, 'c': 4})
  assert arrays.under('a/') == {'x': 1, 'y': 2} and arrays['c'] == 4
  assert arrays.unused() == ['b/x']
  assert arrays.groups() == ['a', 'b']
  with pytest.raises(stored.Missing, match='f does not contain d'):
    arrays['d']


def test_peeking_is_not_asking():
  arrays = stored.Arrays('f', {'x': 1})
  assert arrays.peek('x') == 1 and arrays.unused() == ['x']


def test_arrays_are_read_when_asked_for(tmp_path):
  np.savez(tmp_path / 'a.npz', x=np.arange(3), y=np.array([{}], dtype=object))
  arrays = stored.open_arrays(tmp_path / 'a.npz')
  np.testing.assert_array_equal(arrays['x'], [0, 1, 2])
  with pytest.raises(errors.UserError, match='a.npz cannot be read'):
    stored.open_arrays(tmp_path / 'a.npz', check=True)


def test_json(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('{"a": [1]}')
  assert stored.read_json(path) == {'a': [1]}
  path.write_bytes(b'\xff')
  with pytest.raises(errors.UserError, match='a.json must be JSON'):
    stored.read_json(path)
