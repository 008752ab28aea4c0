"""The pooler and the heads on top of the encoder."""

from collections.abc import Collection
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from tagsdc_jax import settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.models import layers

# Parameter names of all heads, and of those that decode words.
NAMES = (
  'pooler',
  'rank_output',
  'itm_output',
  'mlm_output',
  'disc_output',
  'correction_output',
)
WORD_HEADS = {'mlm_output', 'correction_output'}


class Pooler(nn.Module):
  """tanh of a linear layer on [CLS]."""

  config: settings.Model
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, states: Float[Array, 'rows T D']
  ) -> Float[Array, 'rows D']:
    """Returns the pooled state of each row, from which scores are computed."""
    return jnp.tanh(
      layers.dense(self.config, self.config.hidden_size, self.dtype, 'dense')(
        states[:, 0]
      )
    )


class WordHead(nn.Module):
  """BERT's MLM head without its decoder, which is the word embedding."""

  config: settings.Model
  dtype: DTypeLike

  def setup(self) -> None:
    config = self.config
    self.dense = layers.dense(config, config.hidden_size, self.dtype, None)
    self.norm = layers.layer_norm(self.dtype, None)
    self.bias = self.param('bias', nn.initializers.zeros, (config.vocab_size,))

  def transform(
    self, states: Float[Array, '*words D']
  ) -> Float[Array, '*words D']:
    """Returns the input of the tied decoder."""
    return self.norm(layers.gelu(self.dense(states)))

  def add_bias(
    self, logits: Float[Array, '*words V']
  ) -> Float[Array, '*words V']:
    """Returns logits plus bias, float32, or float64 if the network uses it."""
    logits = logits.astype(layers.score_dtype(self.dtype))
    # A product because of its gradient: on a CPU, XLA's sum over the rows takes
    # a fifth of the head's time, a product next to none. Exact on all devices.
    ones = jnp.ones((*logits.shape[:-1], 1), logits.dtype)
    return logits + jnp.matmul(
      ones, self.bias[None], precision=jax.lax.Precision.HIGHEST
    )


def parameters(params: Any, names: Collection[str]) -> dict[str, Any]:
  """Returns the parameters of some heads.

  Args:
    params: of the whole network.
    names: heads such as 'rank_output' or 'mlm_output'; for word heads the word
      embedding, their decoder, is included.
  """
  found = {name: params[name] for name in names}
  if set(names) & WORD_HEADS:
    found['text_embeddings'] = {'word': params['text_embeddings']['word']}
  return found
