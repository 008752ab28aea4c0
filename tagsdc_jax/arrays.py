"""The batch struct, the shape letters, and the check at public edges.

Shape letters, used in every docstring:
  B positives of a micro-batch     L text tokens with [CLS], [SEP], padding
  R regions                        T = L + R                 D hidden size
  F region feature size            V vocabulary              P phrases
  K masked copies                  S refills per copy        G = K * S
  Q packed targets of one chunk    N retrieved pool          H kept negatives
  C reference captions             M rows of any kind
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

# jax.Array inside the graph, numpy arrays before they go to a device.
Array = Any


@struct.dataclass
class Texts:
  """Padded captions.

  The length is carried, not read off the padding id: a refilled sentence may
  hold the token [PAD] in its middle.
  """
  token_ids: Array  # int32 [..., L]
  num_tokens: Array  # int32 [...], [CLS] and [SEP] included


@struct.dataclass
class Images:
  """Padded region features."""
  features: Array  # float16 or float32 [..., R, F]
  boxes: Array  # float32 [..., R, 7]
  num_regions: Array  # int32 [...]


@struct.dataclass
class MicroBatch:
  """B positives and the pool that they share; a pure function of its number.

  No pool row belongs to one of the B images, so every pool row is a negative
  of every positive, unless its words are those of one of the references.
  """
  number: Array  # int32 [], counted over the whole run
  texts: Texts  # [B, L]
  images: Images  # [B, R, .]
  phrase_counts: Array  # int8 [B, P, L], see data/phrases.py
  phrase_kinds: Array  # int8 [B, P], see data/phrases.py
  references: Array  # int32 [B, C, L], all captions of the image
  pool_texts: Texts  # [N, L]
  pool_images: Images  # [N, R, .]
  caption_numbers: Array  # int32 [B], for messages
  image_numbers: Array  # int32 [B]; equal numbers are no negatives


def length_mask(lengths: jax.Array, size: int) -> jax.Array:
  """Returns which of `size` places are real, bool [..., size].

  Args:
    lengths: int32 [...], real ones come first.
    size: padded length.
  """
  shape = (*lengths.shape, size)
  places = jax.lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)
  return places < lengths[..., None]


def check_shape(name: str, array: jax.Array, expected: tuple) -> None:
  """Raises ValueError unless the shape is as expected (None = any size)."""
  actual = tuple(array.shape)
  fits = len(actual) == len(expected) and all(
      e is None or e == a for e, a in zip(expected, actual))
  if not fits:
    raise ValueError(f'{name} must have shape {expected}, got {actual}')


def not_finite(arrays: Mapping[str, np.ndarray]) -> str:
  """Returns which arrays hold NaN or infinite numbers, '' if none does."""
  wrong = [name for name, array in arrays.items()
           if not np.all(np.isfinite(array))]
  if not wrong:
    return ''
  array = np.asarray(arrays[wrong[0]])
  counts = {'NaN': np.sum(np.isnan(array)), 'infinite': np.sum(np.isinf(array))}
  said = ' and '.join(f'{n:,} {kind}' for kind, n in counts.items() if n)
  return (f'{wrong[0]} has {said} of {array.size:,}'
          + (f', and {len(wrong) - 1} more of {len(arrays)} arrays have some'
             if len(wrong) > 1 else ''))
