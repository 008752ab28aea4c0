"""Batch structs, shape letters, and shape checks for public functions.

Each shape letter has one meaning in all annotations and docstrings:
  B positives of a micro-batch     L text tokens with [CLS], [SEP], padding
  R regions                        T = L + R                 D hidden size
  F region feature size            V vocabulary              P phrases
  K masked copies                  S refills per copy        G = K * S
  N retrieved pool                 H selected hard negatives of a source
Every other axis is named by a word, such as tokens, rows or references.
Annotations are checked in tests (tests/shapes.py), not at run time.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Float, Float32, Int, Int8, Int32, UInt32

# A jax.Array inside the graph, a numpy array before the transfer to a device.
Array = Any


@struct.dataclass
class Texts:
  """Padded captions.

  Lengths are stored, not derived from the padding id, because a refilled
  sentence may contain a [PAD] token.
  """

  token_ids: Int32[Array, '... L']
  num_tokens: Int32[Array, '...']  # [CLS] and [SEP] included.


@struct.dataclass
class Images:
  """Padded region features."""

  features: Float[Array, '... R F']  # float16 or float32
  boxes: Float32[Array, '... R 7']
  num_regions: Int32[Array, '...']


@struct.dataclass
class MicroBatch:
  """B positives and their shared pool; a pure function of seed and number.

  No pool row belongs to any of the B images, so every pool row is a negative
  of every positive, unless its text equals one of the references. Several
  micro-batches are stacked along leading axes.
  """

  seed: UInt32[Array, '...']  # The run's; not a part of compiled programs.
  number: Int32[Array, '...']  # Counted over the whole run.
  texts: Texts  # [..., B, L]
  images: Images  # [..., B, R, .]
  phrase_counts: Int8[Array, '... B P L']  # See data/phrases.py.
  phrase_kinds: Int8[Array, '... B P']  # See data/phrases.py.
  references: Int32[Array, '... B references L']  # All captions of the image.
  pool_texts: Texts  # [..., N, L]
  pool_images: Images  # [..., N, R, .]
  caption_numbers: Int32[Array, '... B']  # For messages.
  image_numbers: Int32[Array, '... B']  # Equal numbers are not negatives.


def length_mask(
  lengths: Int[Array, '*rows'], size: int
) -> Bool[Array, '*rows size']:
  """Returns a mask that is True in the first `lengths` places of each row."""
  shape = (*lengths.shape, size)
  places = jax.lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)
  return places < lengths[..., None]


def shape_fits(actual: tuple, expected: tuple) -> bool:
  """Returns whether a shape matches the expected one (None = any size)."""
  return len(actual) == len(expected) and all(
    e is None or e == a for e, a in zip(expected, actual)
  )


def check_shape(name: str, array: Array, expected: tuple) -> None:
  """Raises ValueError unless the shape matches (None = any size)."""
  actual = tuple(array.shape)
  if not shape_fits(actual, expected):
    raise ValueError(f'{name} must have shape {expected}, got {actual}')


def not_finite(arrays: Mapping[str, np.ndarray | np.generic]) -> str:
  """Describes the arrays with NaN or infinite values; '' if there are none."""
  wrong = [
    name for name, array in arrays.items() if not np.all(np.isfinite(array))
  ]
  if not wrong:
    return ''
  array = np.asarray(arrays[wrong[0]])
  counts = {'NaN': np.sum(np.isnan(array)), 'infinite': np.sum(np.isinf(array))}
  said = ' and '.join(f'{n:,} {kind}' for kind, n in counts.items() if n)
  return f'{wrong[0]} has {said} among {array.size:,} values' + (
    f', as have {len(wrong) - 1} more of {len(arrays)} arrays'
    if len(wrong) > 1
    else ''
  )
