"""Hashes of what a checkpoint holds: any changed bit shows."""

import copy

import numpy as np
import pytest

from tagsdc_jax.runtime import hashing

ARRAYS = {
  'parameters': {
    'a': {'kernel': np.arange(6, dtype=np.float32)},
    'b': np.float32(2),
  },
  'optimizer': {'.mu': np.zeros((2, 0), np.float32)},
}
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
  with pytest.raises(
    ValueError, match='parameters/a/kernel differs from what was saved$'
  ):
    hashing.check_hashes(about, arrays)


@pytest.mark.parametrize(
  'change',
  [
    lambda about, arrays: about.update(update=4),
    lambda about, arrays: arrays['parameters'].pop('b'),
    lambda about, arrays: arrays['parameters'].update(c=np.ones(1)),
    lambda about, arrays: arrays['parameters'].update(b=np.float64(2)),
    lambda about, arrays: arrays['optimizer'].update(
      {'.mu': np.zeros((0, 2), np.float32)}
    ),
  ],
)
def test_other_facts_names_types_and_shapes(change):
  about, arrays = _read()
  change(about, arrays)
  with pytest.raises(ValueError, match='differs from what was saved'):
    hashing.check_hashes(about, arrays)


def test_a_version_that_kept_none():
  about = dict(ABOUT)
  hashing.check_hashes(about, ARRAYS)
  assert about == ABOUT


def test_hashes_are_the_recorded_ones(tmp_path):
  # Of the bytes themselves; see sha256sum.
  assert hashing.sha256([b'a', b'', b'bc']).hex() == (
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  )
  (tmp_path / 'abc').write_bytes(b'abc')
  assert hashing.file_sha256(tmp_path / 'abc') == hashing.sha256([b'abc']).hex()
  # Little-endian float32, in the order of the names "a/kernel" and "b".
  assert (
    hashing.parameters_sha256(ARRAYS['parameters'])
    == hashing.sha256([np.array([0, 1, 2, 3, 4, 5, 2], '<f4').tobytes()]).hex()
  )
  assert (
    hashing.arrays_sha256(np.zeros((1, 2), np.int8), np.ones(1, np.float32))
    == hashing.sha256([b'int8 (1, 2)\n\0\0float32 (1,)\n\0\0\x80?']).hex()
  )
