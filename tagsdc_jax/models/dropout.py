"""Dropout bits from a hashed counter: one fused kernel instead of threefry.

JAX's default generator, threefry, takes 20 rounds per two words and, on a CPU,
accounts for 40 % of the train step's compile time. Dropout does not need that
quality: balanced and uncorrelated bits suffice.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Key, UInt32

from tagsdc_jax.arrays import Array


def _mix(x: UInt32[Array, '...']) -> UInt32[Array, '...']:
  """A bijection of uint32 where each input bit flips half the output bits."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)


def random_bits(
  key: Key[Array, ''] | Key[Array, 'rows'], site: int, shape: tuple[int, ...]
) -> UInt32[Array, '...']:
  """Returns random bits, a function of (key, site, position in the array).

  With one key per row, a row's bits depend only on its key and the position in
  the row, not on other rows or the amount of padding: a row draws the same bits
  in every chunk.

  Args:
    key: one, or one per row (shape[0] of them); may be used at several sites.
    site: number of the place in the network that draws the bits.
    shape: shape of the result, below 2^32 elements.
  """
  words = jax.random.key_data(key)
  first, strides = 0, _strides(shape)
  if key.ndim:
    first, strides = 1, _fixed_strides(shape)
    words = words.reshape(*words.shape[:1], *[1] * (len(shape) - 1), 2)
  place = jnp.zeros(shape, jnp.uint32)
  for axis in range(first, len(shape)):
    place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(
      strides[axis] % 2**32
    )
  site_word = _mix(words[..., 1] ^ jnp.uint32(0x9E3779B9 * (site + 1) % 2**32))
  return _mix(_mix(place ^ words[..., 0]) + site_word)


def keys_at(
  row_keys: Key[Array, 'rows'],
  rows: Int[Array, 'tokens'],
  places: Int[Array, 'tokens'],
) -> Key[Array, 'tokens']:
  """Returns one key per token, derived from its row's key and its position.

  Args:
    row_keys: one per row.
    rows: the row of each token.
    places: the position of each token in its row.
  """
  words = jax.random.key_data(row_keys)[rows]
  first = _mix(words[:, 0] ^ places.astype(jnp.uint32))
  return jax.random.wrap_key_data(jnp.stack([first, words[:, 1]], axis=1))


def _strides(shape: tuple[int, ...]) -> list[int]:
  return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _fixed_strides(shape: tuple[int, ...]) -> list[int]:
  """Returns strides that give the axes after the rows equal shares of 32 bits.

  That allows 1,024 heads, queries and keys, or 65,536 tokens and features.
  """
  axes = len(shape) - 1
  bits = 32 // max(axes, 1)
  return [0] + [2 ** (bits * (axes - 1 - i)) for i in range(axes)]


def dropout(
  x: Float[Array, '*shape'],
  rate: float,
  key: Key[Array, ''] | Key[Array, 'rows'] | None,
  site: int,
) -> Float[Array, '*shape']:
  """Returns x with a share `rate` zeroed and the rest scaled up.

  Args:
    x: any shape.
    rate: 0 <= rate < 1.
    key: one, one per row of x, or None for no dropout (x is returned).
    site: see `random_bits`.
  """
  if key is None or rate == 0:
    return x
  is_kept = random_bits(key, site, x.shape) >= jnp.uint32(rate * 2**32)
  return jnp.where(is_kept, x / (1 - rate), jnp.zeros_like(x))
