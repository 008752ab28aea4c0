"""Attention, feed-forward and initialisation shared by encoder and heads."""

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


class Attention(nn.Module):
  """Multi-head attention of the first `num_queries` tokens to all tokens."""

  config: settings.Model
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, token_mask: jax.Array, num_queries: int,
               dropout_key: jax.Array | None) -> jax.Array:
    """Returns float [N, num_queries, D].

    Args:
      x: float [N, T, D].
      token_mask: bool [N, T], True where real; others are never attended to.
      num_queries: how many leading tokens the result is wanted for.
      dropout_key: PRNG key, or None for no dropout.
    """
    config = self.config
    width, num_heads = config.hidden_size, config.num_heads
    head_size = width // num_heads

    def heads(name: str, tokens: jax.Array) -> jax.Array:
      y = dense(config, width, self.dtype, name)(tokens)
      return y.reshape(*y.shape[:-1], num_heads, head_size)

    query = heads('query', x[:, :num_queries])
    key, value = heads('key', x), heads('value', x)
    logits = jnp.einsum('nqhd,nkhd->nhqk', query, key)
    logits = logits.astype(score_dtype(self.dtype)) / head_size**0.5
    # The reference adds -10000, which is exactly zero weight in float32. The
    # lowest float does the same and stays finite for rows without any token.
    logits = jnp.where(token_mask[:, None, None, :], logits,
                       jnp.finfo(jnp.float32).min)
    probs = nn.softmax(logits).astype(self.dtype)
    probs = dropout.dropout(probs, config.dropout_rate, dropout_key, 0)
    mixed = jnp.einsum('nhqk,nkhd->nqhd', probs, value)
    mixed = mixed.reshape(*mixed.shape[:-2], width)
    return dense(config, width, self.dtype, 'output')(mixed)


class EncoderLayer(nn.Module):
  """One post-norm BERT layer."""

  config: settings.Model
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, token_mask: jax.Array, num_queries: int,
               dropout_key: jax.Array | None) -> jax.Array:
    """Returns float [N, num_queries, D]; arguments as `Attention`'s."""
    config = self.config

    def drop(y: jax.Array, site: int) -> jax.Array:
      return dropout.dropout(y, config.dropout_rate, dropout_key, site)

    attended = Attention(config, self.dtype, name='attention')(
        x, token_mask, num_queries, dropout_key)
    x = layer_norm(self.dtype, 'attention_norm')(
        x[:, :num_queries] + drop(attended, 1))
    hidden = gelu(dense(config, config.intermediate_size, self.dtype,
                        'intermediate')(x))
    output = dense(config, config.hidden_size, self.dtype, 'output')(hidden)
    return layer_norm(self.dtype, 'output_norm')(x + drop(output, 2))
