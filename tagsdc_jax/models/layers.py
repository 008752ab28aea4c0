"""Attention, feed-forward and initialisation shared by encoder and heads."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from tagsdc_jax import settings
from tagsdc_jax.models import dropout, token_layout as layouts

# BERT's value; flax's default of 1e-6 changes outputs in the fourth digit.
LAYER_NORM_EPSILON = 1e-12


def score_dtype(dtype: jnp.dtype) -> jnp.dtype:
  """Returns what attention and scores are computed in: float32 at least."""
  return jnp.promote_types(dtype, jnp.float32)


def initializer(config: settings.Model) -> nn.initializers.Initializer:
  """Weights of linear layers and embeddings: N(0, range); 0.02 in BERT."""
  return nn.initializers.normal(config.initializer_range)


def dense(config: settings.Model, features: int, dtype: jnp.dtype,
          name: str | None,
          precision: jax.lax.Precision | None = None) -> nn.Dense:
  """A linear layer with BERT's initialisation; biases start at 0.

  `precision` of its product: None for the network's.
  """
  return nn.Dense(features, dtype=dtype, kernel_init=initializer(config),
                  name=name, precision=precision)


def layer_norm(dtype: jnp.dtype, name: str | None) -> nn.LayerNorm:
  """LayerNorm with BERT's epsilon; statistics in float32 at least."""
  return nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, dtype=dtype, name=name)


def gelu(x: jax.Array) -> jax.Array:
  """The exact (erf) form, not the tanh approximation.

  flax's own goes through erfc, which takes twice as long on a CPU.
  """
  return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


class HeadProjection(nn.Module):
  """A linear layer whose output is divided among the attention heads.

  Parameters as nn.Dense's: kernel [D, D], bias [D].
  """

  config: settings.Model
  dtype: jnp.dtype

  def setup(self) -> None:
    width = self.config.hidden_size
    self.kernel = self.param('kernel', initializer(self.config),
                             (width, width))
    self.bias = self.param('bias', nn.initializers.zeros, (width,))

  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns x [S, D] times the kernel, and the bias, which is not added."""
    return x @ self.kernel.astype(self.dtype), self.bias.astype(self.dtype)

  def by_head(self) -> tuple[jax.Array, jax.Array]:
    """Returns the kernel [D, heads, D / heads] and bias [heads, D / heads]."""
    shape = (self.config.num_heads,
             self.config.hidden_size // self.config.num_heads)
    return (self.kernel.astype(self.dtype).reshape(-1, *shape),
            self.bias.astype(self.dtype).reshape(shape))


class _Given(NamedTuple):
  """What attention takes besides what has a gradient."""
  token_mask: jax.Array  # bool [S], True where real
  dropout_keys: jax.Array | None  # [rows]


class Attention(nn.Module):
  """Multi-head attention of all tokens, or each row's first, to its tokens."""

  config: settings.Model
  dtype: jnp.dtype
  implementation: str = 'plain'  # One of settings.ATTENTION.

  @nn.compact
  def __call__(self, x: jax.Array, token_mask: jax.Array,
               layout: layouts.Layout, first_only: bool,
               dropout_keys: jax.Array | None) -> jax.Array:
    """Returns float [S, D], or [rows, D] if of the first tokens only.

    Args:
      x: float [S, D].
      token_mask: bool [S], True where real; others are never attended to.
        Real ones come first in a row unless the implementation is plain.
      layout: where the tokens stand.
      first_only: whether the result is wanted for each row's first token only.
      dropout_keys: PRNG key of each row, or None for no dropout.
    """
    config = self.config
    query, key, value = (HeadProjection(config, self.dtype, name=name)
                         for name in ('query', 'key', 'value'))
    given = _Given(token_mask, dropout_keys)
    if first_only:
      mixed = _attend_from_first(config, query, key, value, x, layout, given)
    else:
      mixed = layout.by_row(
          functools.partial(_attend, config, self.implementation),
          (query(x), key(x), value(x)), given)
    return dense(config, config.hidden_size, self.dtype, 'output')(mixed)


def _weigh(config: settings.Model, logits: jax.Array,
           given: _Given) -> jax.Array:
  """Returns attention weights for logits, [N, heads, Q, T] both.

  Args:
    config: heads and dropout.
    logits: products of queries and keys.
    given: token_mask [N, T], dropout_keys [N].
  """
  dtype = logits.dtype
  logits = logits.astype(score_dtype(dtype))
  logits /= (config.hidden_size // config.num_heads)**0.5
  # The reference adds -10000, which is exactly zero weight in float32. The
  # lowest float does the same and stays finite for rows without any token.
  logits = jnp.where(given.token_mask[:, None, None, :], logits,
                     jnp.finfo(jnp.float32).min)
  probs = nn.softmax(logits).astype(dtype)
  return dropout.dropout(probs, config.dropout_rate, given.dropout_keys, 0)


def _of_rows(given: _Given, num_rows: int, width: int) -> _Given:
  """Returns the mask as [num_rows, width] and the keys as [num_rows]."""
  keys = given.dropout_keys
  return _Given(_split(given.token_mask, num_rows, width),
                None if keys is None else keys[:num_rows])


def _split(x: jax.Array, num_rows: int, width: int) -> jax.Array:
  """Returns [num_rows, width, ...], the first tokens of x [S, ...]."""
  return x[:num_rows * width].reshape(num_rows, width, *x.shape[1:])


def _pad(x: jax.Array, length: int) -> jax.Array:
  """Returns x [N, ...] with zeros below, [length, ...]."""
  return jnp.pad(x, [(0, length - x.shape[0])] + [(0, 0)] * (x.ndim - 1))


def _attend(config: settings.Model, implementation: str, width: int,
            projected: tuple[tuple[jax.Array, jax.Array], ...],
            given: _Given) -> jax.Array:
  """Returns what all tokens take from those of their row, float [S, D].

  Args:
    config: heads and dropout.
    implementation: one of settings.ATTENTION.
    width: of the rows.
    projected: queries, keys and values as [S, D] and a bias [D] to be added.
    given: mask and keys.
  """
  num_tokens = given.token_mask.shape[0]
  num_rows = num_tokens // width
  given = _of_rows(given, num_rows, width)
  queries, keys, values = (
      (_split(x, num_rows, width) + bias[None, None]).reshape(
          num_rows, width, config.num_heads, -1) for x, bias in projected)
  if given.dropout_keys is None and implementation != 'plain':
    # cuDNN never writes the weights to memory and skips what lies beyond a
    # row's length.
    mixed = jax.nn.dot_product_attention(  # type: ignore[call-overload]
        queries, keys, values, implementation=implementation,
        key_value_seq_lengths=jnp.sum(given.token_mask, axis=1,
                                      dtype=jnp.int32))
  else:
    # Heads first: a CPU's batched products want their matrices contiguous, and
    # not rows with rows.
    probs = _weigh(config, queries.transpose(0, 2, 1, 3)
                   @ keys.transpose(0, 2, 3, 1), given)
    mixed = (probs @ values.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
  return _pad(mixed.reshape(num_rows * width, -1), num_tokens)


def _attend_from_first(config: settings.Model, query: HeadProjection,
                       key: HeadProjection, value: HeadProjection,
                       x: jax.Array, layout: layouts.Layout,
                       given: _Given) -> jax.Array:
  """Returns what each row's first token takes from all, float [rows, D].

  Keys and values are linear in x, so the query can go through the keys'
  projection instead of the tokens, and the weighted sum through the values':
  D / heads times less work than to project all tokens.

  Args:
    config: heads and dropout.
    query: projection of the queries.
    key: of the keys.
    value: of the values.
    x: float [S, D].
    layout: where the tokens stand.
    given: mask and keys.
  """
  first, bias = query(layout.leading(x, 1)[:, 0])
  queries = (first + bias[None]).reshape(len(first), config.num_heads, -1)
  kernel, bias = key.by_head()
  mixed, sums = layout.by_row(
      functools.partial(_mix_for_first, config),
      (jnp.einsum('nhd,chd->nhc', queries, kernel),
       jnp.einsum('nhd,hd->nh', queries, bias), x), given)
  kernel, bias = value.by_head()
  mixed = jnp.einsum('nhc,chd->nhd', mixed, kernel)
  # With dropout the weights do not add up to 1.
  return (mixed + sums[..., None] * bias[None]).reshape(first.shape)


def _mix_for_first(config: settings.Model, width: int,
                   floats: tuple[jax.Array, jax.Array, jax.Array],
                   given: _Given) -> tuple[jax.Array, jax.Array]:
  """Returns weighted sums of a row's tokens and of their weights.

  Args:
    config: heads and dropout.
    width: of the rows.
    floats: what the tokens are multiplied with [rows, heads, D], what is added
      to it [rows, heads], and the tokens [S, D].
    given: mask and keys.
  Returns:
    float [rows, heads, D] and [rows, heads].
  """
  queries, bias, x = floats
  max_rows, num_rows = len(queries), len(x) // width
  given = _of_rows(given, num_rows, width)
  x = _split(x, num_rows, width)
  logits = (jnp.einsum('nhc,nkc->nhk', queries[:num_rows], x)
            + bias[:num_rows, :, None])
  probs = _weigh(config, logits[:, :, None], given)[:, :, 0]
  return (_pad(jnp.einsum('nhk,nkc->nhc', probs, x), max_rows),
          _pad(jnp.sum(probs, -1), max_rows))


class EncoderLayer(nn.Module):
  """One post-norm BERT layer."""

  config: settings.Model
  dtype: jnp.dtype
  attention: str = 'plain'  # One of settings.ATTENTION.

  @nn.compact
  def __call__(self, x: jax.Array, token_mask: jax.Array,
               layout: layouts.Layout, first_only: bool,
               dropout_keys: jax.Array | None) -> jax.Array:
    """Returns float [S, D] or [rows, D]; arguments as `Attention`'s."""
    config = self.config
    keys = None
    if dropout_keys is not None:
      rows, places = layout.rows, layout.places
      if first_only:  # Draws as it would beside the row's other tokens.
        rows = jnp.arange(layout.max_rows)
        places = jnp.zeros_like(rows)
      keys = dropout.keys_at(dropout_keys, rows, places)

    def drop(y: jax.Array, site: int) -> jax.Array:
      return dropout.dropout(y, config.dropout_rate, keys, site)

    attended = Attention(config, self.dtype, self.attention,
                         name='attention')(
        x, token_mask, layout, first_only, dropout_keys)
    if first_only:
      x = layout.leading(x, 1)[:, 0]
    x = layer_norm(self.dtype, 'attention_norm')(x + drop(attended, 1))
    hidden = gelu(dense(config, config.intermediate_size, self.dtype,
                        'intermediate')(x))
    output = dense(config, config.hidden_size, self.dtype, 'output')(hidden)
    return layer_norm(self.dtype, 'output_norm')(x + drop(output, 2))
