"""Attention, feed-forward and initialisation shared by encoder and heads."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from tagsdc_jax import settings
from tagsdc_jax.models import dropout

# BERT's value; flax's default of 1e-6 changes outputs in the fourth digit.
LAYER_NORM_EPSILON = 1e-12


def score_dtype(dtype: jnp.dtype) -> jnp.dtype:
  """Returns what attention and scores are computed in: float32 at least."""
  return jnp.promote_types(dtype, jnp.float32)


def initializer(config: settings.Model) -> nn.initializers.Initializer:
  """Weights of linear layers and embeddings: N(0, range); 0.02 in BERT."""
  return nn.initializers.normal(config.initializer_range)


def dense(config: settings.Model, features: int, dtype: jnp.dtype,
          name: str | None) -> nn.Dense:
  """A linear layer with BERT's initialisation; biases start at 0."""
  return nn.Dense(features, dtype=dtype, kernel_init=initializer(config),
                  name=name)


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

  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns float [N, heads, T, D / heads] for x [N, T, D]."""
    y = x @ self.kernel.astype(self.dtype)
    y += self.bias.astype(self.dtype)[None, None]
    y = y.reshape(*x.shape[:2], self.config.num_heads, -1)
    # Heads first: a CPU's batched products want their matrices contiguous.
    return y.transpose(0, 2, 1, 3)

  def by_head(self) -> tuple[jax.Array, jax.Array]:
    """Returns the kernel [D, heads, D / heads] and bias [heads, D / heads]."""
    shape = (self.config.num_heads,
             self.config.hidden_size // self.config.num_heads)
    return (self.kernel.astype(self.dtype).reshape(-1, *shape),
            self.bias.astype(self.dtype).reshape(shape))


class Attention(nn.Module):
  """Multi-head attention of the first `num_queries` tokens to all tokens."""

  config: settings.Model
  dtype: jnp.dtype
  implementation: str = 'plain'  # One of settings.ATTENTION.

  @nn.compact
  def __call__(self, x: jax.Array, token_mask: jax.Array, num_queries: int,
               dropout_key: jax.Array | None) -> jax.Array:
    """Returns float [N, num_queries, D].

    Args:
      x: float [N, T, D].
      token_mask: bool [N, T], True where real; others are never attended to.
        Real ones come first unless the implementation is plain.
      num_queries: how many leading tokens the result is wanted for.
      dropout_key: PRNG key, or None for no dropout.
    """
    config = self.config
    query, key, value = (HeadProjection(config, self.dtype, name=name)
                         for name in ('query', 'key', 'value'))

    def weigh(logits: jax.Array) -> jax.Array:
      logits = logits.astype(score_dtype(self.dtype))
      logits /= (config.hidden_size // config.num_heads)**0.5
      # The reference adds -10000, which is exactly zero weight in float32. The
      # lowest float does the same and stays finite for rows without any token.
      logits = jnp.where(token_mask[:, None, None, :], logits,
                         jnp.finfo(jnp.float32).min)
      probs = nn.softmax(logits).astype(self.dtype)
      return dropout.dropout(probs, config.dropout_rate, dropout_key, 0)

    queries = query(x[:, :num_queries])
    if num_queries == 1:
      mixed = _attend_from_one(queries, key, value, x, weigh)
    elif dropout_key is None and self.implementation != 'plain':
      mixed = _attend_by_library(queries, key(x), value(x), token_mask,
                                 self.implementation)
    else:
      # Transposed here, so that it joins the projection's own transposition: a
      # CPU's batched product of rows with rows is slower.
      probs = weigh(queries @ key(x).transpose(0, 1, 3, 2))
      mixed = jnp.einsum('nhqk,nhkd->nhqd', probs, value(x))
    mixed = mixed.transpose(0, 2, 1, 3)
    return dense(config, config.hidden_size, self.dtype, 'output')(
        mixed.reshape(*mixed.shape[:2], config.hidden_size))


def _attend_from_one(query: jax.Array, key: HeadProjection,
                     value: HeadProjection, x: jax.Array,
                     weigh: Callable[[jax.Array], jax.Array]) -> jax.Array:
  """Returns what one token takes from all, float [N, heads, 1, D / heads].

  Keys and values are linear in x, so the query can go through the keys'
  projection instead of the tokens, and the weighted sum through the values':
  D / heads times less work than to project all tokens.

  Args:
    query: float [N, heads, 1, D / heads].
    key: projection of the keys.
    value: projection of the values.
    x: float [N, T, D].
    weigh: logits to weights, [N, heads, 1, T] both.
  """
  kernel, bias = key.by_head()
  logits = jnp.einsum('nhqc,nkc->nhqk',
                      jnp.einsum('nhqd,chd->nhqc', query, kernel), x)
  probs = weigh(logits + jnp.einsum('nhqd,hd->nhq', query, bias)[..., None])
  kernel, bias = value.by_head()
  mixed = jnp.einsum('nhqc,chd->nhqd',
                     jnp.einsum('nhqk,nkc->nhqc', probs, x), kernel)
  # With dropout the weights do not add up to 1.
  return mixed + jnp.sum(probs, -1, keepdims=True) * bias[None, :, None]


def _attend_by_library(queries: jax.Array, keys: jax.Array, values: jax.Array,
                       token_mask: jax.Array, implementation: str) -> jax.Array:
  """Returns float [N, heads, Q, D / heads]; arguments have the same axes.

  cuDNN never writes the weights to memory and skips what lies beyond a row's
  length.
  """
  by_token = lambda x: x.transpose(0, 2, 1, 3)
  mixed = jax.nn.dot_product_attention(  # type: ignore[call-overload]
      by_token(queries), by_token(keys), by_token(values),
      key_value_seq_lengths=jnp.sum(token_mask, axis=1, dtype=jnp.int32),
      implementation=implementation)
  return by_token(mixed)


class EncoderLayer(nn.Module):
  """One post-norm BERT layer."""

  config: settings.Model
  dtype: jnp.dtype
  attention: str = 'plain'  # One of settings.ATTENTION.

  @nn.compact
  def __call__(self, x: jax.Array, token_mask: jax.Array, num_queries: int,
               dropout_key: jax.Array | None) -> jax.Array:
    """Returns float [N, num_queries, D]; arguments as `Attention`'s."""
    config = self.config

    def drop(y: jax.Array, site: int) -> jax.Array:
      return dropout.dropout(y, config.dropout_rate, dropout_key, site)

    attended = Attention(config, self.dtype, self.attention,
                         name='attention')(
        x, token_mask, num_queries, dropout_key)
    x = layer_norm(self.dtype, 'attention_norm')(
        x[:, :num_queries] + drop(attended, 1))
    hidden = gelu(dense(config, config.intermediate_size, self.dtype,
                        'intermediate')(x))
    output = dense(config, config.hidden_size, self.dtype, 'output')(hidden)
    return layer_norm(self.dtype, 'output_norm')(x + drop(output, 2))
