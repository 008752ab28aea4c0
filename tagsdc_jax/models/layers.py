"""Attention, feed-forward and initialization, shared by encoder and heads."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Key, Shaped

from tagsdc_jax import settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.models import dropout
from tagsdc_jax.models import token_layout as layouts

# BERT's value; Flax's default of 1e-6 changes outputs in the fourth digit.
LAYER_NORM_EPSILON = 1e-12


def score_dtype(dtype: DTypeLike) -> jnp.dtype:
  """Returns the dtype of attention weights and scores: at least float32."""
  return jnp.promote_types(dtype, jnp.float32)


def initializer(config: settings.Model) -> nn.initializers.Initializer:
  """Returns the initializer of weights: N(0, range); range 0.02 in BERT."""
  return nn.initializers.normal(config.initializer_range)


def dense(
  config: settings.Model,
  features: int,
  dtype: DTypeLike,
  name: str | None,
  precision: jax.lax.Precision | None = None,
) -> nn.Dense:
  """Returns a linear layer with BERT's initialization; biases start at 0.

  `precision` is that of its product; None means the network's.
  """
  return nn.Dense(
    features,
    dtype=dtype,
    kernel_init=initializer(config),
    name=name,
    precision=precision,
  )


def layer_norm(dtype: DTypeLike, name: str | None) -> nn.LayerNorm:
  """Returns LayerNorm with BERT's epsilon; statistics are at least float32."""
  return nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, dtype=dtype, name=name)


def gelu(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """Returns the exact (erf) GELU, not the tanh approximation.

  Flax's version uses erfc, which takes twice as long on a CPU.
  """
  return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


class HeadProjection(nn.Module):
  """A linear layer whose output is split among the attention heads.

  Its parameters are those of nn.Dense: kernel [D, D], bias [D].
  """

  config: settings.Model
  dtype: DTypeLike

  def setup(self) -> None:
    hidden = self.config.hidden_size
    self.kernel = self.param(
      'kernel', initializer(self.config), (hidden, hidden)
    )
    self.bias = self.param('bias', nn.initializers.zeros, (hidden,))

  def __call__(
    self, x: Float[Array, 'tokens D']
  ) -> tuple[Float[Array, 'tokens D'], Float[Array, 'D']]:
    """Returns x times the kernel, and the bias, which is not added."""
    return x @ self.kernel.astype(self.dtype), self.bias.astype(self.dtype)

  def by_head(
    self,
  ) -> tuple[
    Float[Array, 'D heads head_size'], Float[Array, 'heads head_size']
  ]:
    """Returns the kernel and the bias; head_size = D / heads."""
    shape = (
      self.config.num_heads,
      self.config.hidden_size // self.config.num_heads,
    )
    return (
      self.kernel.astype(self.dtype).reshape(-1, *shape),
      self.bias.astype(self.dtype).reshape(shape),
    )


class _Given(NamedTuple):
  """The inputs of attention without gradient.

  The mask is flat over the tokens of a chunk, or [rows, T].
  """

  token_mask: Bool[Array, 'tokens'] | Bool[Array, 'rows T']  # True where real.
  dropout_keys: Key[Array, 'rows'] | None


class Attention(nn.Module):
  """Multi-head self-attention within each row, for all or the first queries."""

  config: settings.Model
  dtype: DTypeLike
  implementation: str = 'plain'  # One of settings.ATTENTION.

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'tokens D'],
    token_mask: Bool[Array, 'tokens'],
    layout: layouts.Layout,
    first_only: bool,
    dropout_keys: Key[Array, 'rows'] | None,
  ) -> Float[Array, 'tokens D'] | Float[Array, 'rows D']:
    """Returns the result for all tokens, or for each row's first token only.

    Args:
      x: states of the tokens.
      token_mask: True where real; others are never attended to. Unless the
        implementation is plain, a row's real tokens must come first.
      layout: the row of each token.
      first_only: whether only the result for each row's first token is needed.
      dropout_keys: one per row, or None for no dropout.
    """
    config = self.config
    query, key, value = (
      HeadProjection(config, self.dtype, name=name)
      for name in ('query', 'key', 'value')
    )
    given = _Given(token_mask, dropout_keys)
    if first_only:
      mixed = _attend_from_first(config, query, key, value, x, layout, given)
    else:
      mixed = layout.by_row(
        functools.partial(_attend, config, self.implementation),
        (query(x), key(x), value(x)),
        given,
      )
    return dense(config, config.hidden_size, self.dtype, 'output')(mixed)


def _weigh(
  config: settings.Model,
  logits: Float[Array, 'rows heads queries T'],
  given: _Given,
) -> Float[Array, 'rows heads queries T']:
  """Returns attention weights for the products of queries and keys."""
  dtype = logits.dtype
  logits = logits.astype(score_dtype(dtype))
  logits /= (config.hidden_size // config.num_heads) ** 0.5
  # The reference adds -10000, which makes the weight exactly 0 in float32. The
  # lowest float does the same and stays finite for rows without tokens.
  logits = jnp.where(
    given.token_mask[:, None, None, :], logits, jnp.finfo(jnp.float32).min
  )
  probs = nn.softmax(logits).astype(dtype)
  return dropout.dropout(probs, config.dropout_rate, given.dropout_keys, 0)


def _of_rows(given: _Given, num_rows: int, length: int) -> _Given:
  """Returns the mask as [num_rows, length] and the keys as [num_rows]."""
  keys = given.dropout_keys
  return _Given(
    _split(given.token_mask, num_rows, length),
    None if keys is None else keys[:num_rows],
  )


def _split(
  x: Shaped[Array, 'tokens ...'], num_rows: int, length: int
) -> Shaped[Array, 'rows T ...']:
  """Returns the first num_rows * length tokens as rows."""
  return x[: num_rows * length].reshape(num_rows, length, *x.shape[1:])


def _pad(
  x: Float[Array, 'rows ...'], number: int
) -> Float[Array, 'padded ...']:
  """Returns x padded with zero rows at the end to `number` rows."""
  return jnp.pad(x, [(0, number - x.shape[0])] + [(0, 0)] * (x.ndim - 1))


def _attend(
  config: settings.Model,
  implementation: str,
  length: int,
  projected: tuple[tuple[Float[Array, 'tokens D'], Float[Array, 'D']], ...],
  given: _Given,
) -> Float[Array, 'tokens D']:
  """Returns the result of attention within each row, for all tokens.

  Args:
    config: heads and dropout.
    implementation: one of settings.ATTENTION.
    length: padded length of the rows.
    projected: queries, keys and values, each with a bias to be added.
    given: mask and keys.
  """
  num_tokens = given.token_mask.shape[0]
  num_rows = num_tokens // length
  given = _of_rows(given, num_rows, length)
  queries, keys, values = (
    (_split(x, num_rows, length) + bias[None, None]).reshape(
      num_rows, length, config.num_heads, -1
    )
    for x, bias in projected
  )
  if given.dropout_keys is None and implementation != 'plain':
    # cuDNN never writes the weights to memory and skips the padding.
    mixed = jax.nn.dot_product_attention(  # type: ignore[call-overload]
      queries,
      keys,
      values,
      implementation=implementation,
      key_value_seq_lengths=jnp.sum(given.token_mask, axis=1, dtype=jnp.int32),
    )
  else:
    # Heads first: batched products on a CPU need contiguous matrices.
    probs = _weigh(
      config, queries.transpose(0, 2, 1, 3) @ keys.transpose(0, 2, 3, 1), given
    )
    mixed = (probs @ values.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
  return _pad(mixed.reshape(num_rows * length, -1), num_tokens)


def _attend_from_first(
  config: settings.Model,
  query: HeadProjection,
  key: HeadProjection,
  value: HeadProjection,
  x: Float[Array, 'tokens D'],
  layout: layouts.Layout,
  given: _Given,
) -> Float[Array, 'rows D']:
  """Returns the result of attention for each row's first token.

  Keys and values are linear in x, so instead of all tokens it suffices to send
  the query through the keys' projection and the weighted sum through the
  values'. That takes D / heads times less work.

  Args:
    config: heads and dropout.
    query: projection of the queries.
    key: projection of the keys.
    value: projection of the values.
    x: states of the tokens.
    layout: the row of each token.
    given: mask and keys.
  """
  first, bias = query(layout.leading(x, 1)[:, 0])
  queries = (first + bias[None]).reshape(len(first), config.num_heads, -1)
  kernel, bias = key.by_head()
  mixed, sums = layout.by_row(
    functools.partial(_mix_for_first, config),
    (
      jnp.einsum('nhd,chd->nhc', queries, kernel),
      jnp.einsum('nhd,hd->nh', queries, bias),
      x,
    ),
    given,
  )
  kernel, bias = value.by_head()
  mixed = jnp.einsum('nhc,chd->nhd', mixed, kernel)
  # With dropout the weights do not add up to 1.
  return (mixed + sums[..., None] * bias[None]).reshape(first.shape)


def _mix_for_first(
  config: settings.Model,
  length: int,
  floats: tuple[
    Float[Array, 'rows heads D'],
    Float[Array, 'rows heads'],
    Float[Array, 'tokens D'],
  ],
  given: _Given,
) -> tuple[Float[Array, 'rows heads D'], Float[Array, 'rows heads']]:
  """Returns weighted sums of each row's tokens, and the sums of the weights.

  Args:
    config: heads and dropout.
    length: padded length of the rows.
    floats: queries in the space of the tokens, the bias of their products with
      the tokens, and the tokens.
    given: mask and keys.
  """
  queries, bias, x = floats
  max_rows, num_rows = len(queries), len(x) // length
  given = _of_rows(given, num_rows, length)
  x = _split(x, num_rows, length)
  logits = (
    jnp.einsum('nhc,nkc->nhk', queries[:num_rows], x) + bias[:num_rows, :, None]
  )
  probs = _weigh(config, logits[:, :, None], given)[:, :, 0]
  return (
    _pad(jnp.einsum('nhk,nkc->nhc', probs, x), max_rows),
    _pad(jnp.sum(probs, -1), max_rows),
  )


class EncoderLayer(nn.Module):
  """One post-norm BERT layer."""

  config: settings.Model
  dtype: DTypeLike
  attention: str = 'plain'  # One of settings.ATTENTION.

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'tokens D'],
    token_mask: Bool[Array, 'tokens'],
    layout: layouts.Layout,
    first_only: bool,
    dropout_keys: Key[Array, 'rows'] | None,
  ) -> Float[Array, 'tokens D'] | Float[Array, 'rows D']:
    """Returns this layer's output states; arguments as for `Attention`."""
    config = self.config
    keys = None
    if dropout_keys is not None:
      rows, places = layout.rows, layout.places
      if first_only:  # The same draws as together with the row's other tokens.
        rows = jnp.arange(layout.max_rows)
        places = jnp.zeros_like(rows)
      keys = dropout.keys_at(dropout_keys, rows, places)

    def drop(y: Float[Array, '*shape'], site: int) -> Float[Array, '*shape']:
      return dropout.dropout(y, config.dropout_rate, keys, site)

    attended = Attention(config, self.dtype, self.attention, name='attention')(
      x, token_mask, layout, first_only, dropout_keys
    )
    if first_only:
      x = layout.leading(x, 1)[:, 0]
    x = layer_norm(self.dtype, 'attention_norm')(x + drop(attended, 1))
    hidden = gelu(
      dense(config, config.intermediate_size, self.dtype, 'intermediate')(x)
    )
    output = dense(config, config.hidden_size, self.dtype, 'output')(hidden)
    return layer_norm(self.dtype, 'output_norm')(x + drop(output, 2))
