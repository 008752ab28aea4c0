"""Hashes of what a checkpoint holds: any changed bit shows."""

import copy

import numpy as np
import pytest

from tagsdc_jax.runtime import hashing

ARRAYS = {'parameters': {'a': {'kernel': np.arange(6, dtype=np.float32)},
                         'b': np.float32(2)},
          'optimizer': {'.mu': np.zeros((2, 0), np.float32)}}
ABOUT = {'phase': 'tags', 'update': 3, 'best': 0.1, 'sizes': (1, 2)}


def _read():
  return hashing.with_hashes(ABOUT, ARRAYS), copy.deepcopy(ARRAYS)


def test_what_was_saved_passes_and_the_hashes_are_taken_out():
  about, arrays = _read()
  hashing.check_hashes(about, arrays)
  assert about == ABOUT | {'sizes': [1, 2]}


def test_parts_that_were_not_read_are_not_asked_for():
  about, arrays = _read()
  hashing.check_hashes(about, {'parameters': arrays['parameters']})


def test_one_flipped_bit():
  about, arrays = _read()
  arrays['parameters']['a']['kernel'].view(np.uint8)[5] ^= 1
  with pytest.raises(ValueError, match='parameters/a/kernel is not what was '
                     'saved$'):
    hashing.check_hashes(about, arrays)


@pytest.mark.parametrize('change', [
    lambda about, arrays: about.update(update=4),
    lambda about, arrays: arrays['parameters'].pop('b'),
    lambda about, arrays: arrays['parameters'].update(c=np.ones(1)),
    lambda about, arrays: arrays['parameters'].update(
        b=np.float64(2)),
    lambda about, arrays: arrays['optimizer'].update(
        {'.mu': np.zeros((0, 2), np.float32)}),
])
def test_other_facts_names_types_and_shapes(change):
  about, arrays = _read()
  change(about, arrays)
  with pytest.raises(ValueError, match='is not what was saved'):
    hashing.check_hashes(about, arrays)


def test_a_version_that_kept_none():
  about = dict(ABOUT)
  hashing.check_hashes(about, ARRAYS)
  assert about == ABOUT
