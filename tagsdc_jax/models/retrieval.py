"""The whole network: one module, one method per output, no loss."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tagsdc_jax import settings
from tagsdc_jax.models import heads, layers, token_layout as layouts, uniter


class RetrievalModel(nn.Module):
  """UNITER with the heads of pretraining, TAGS and DC.

  All heads exist in every phase, so that a checkpoint of one phase starts the
  next; the optimiser leaves alone those that a phase does not use.

  What is float32 below is float64 if dtype is (comparisons need that).
  """

  config: settings.Model
  dtype: jnp.dtype = jnp.float32
  attention: str = 'plain'  # One of settings.ATTENTION.
  recompute_layers: bool = False  # See settings.Compute.
  matmul_precision: str = 'highest'  # One of settings.PRECISIONS.

  def setup(self) -> None:
    config, dtype = self.config, self.dtype
    self.text_embeddings = uniter.TextEmbeddings(config, dtype)
    self.image_embeddings = uniter.ImageEmbeddings(config, dtype)
    self.encoder = uniter.Encoder(config, dtype, self.attention,
                                  self.recompute_layers)
    self.pooler = heads.Pooler(config, dtype)
    # Scores are float32 wherever and however the encoder computes.
    scores = layers.score_dtype(dtype)
    self.rank_output, self.itm_output, self.disc_output = (
        layers.dense(config, size, scores, None, jax.lax.Precision.HIGHEST)
        for size in (1, 2, 2))
    self.mlm_output = heads.WordHead(config, dtype)
    self.correction_output = heads.WordHead(config, dtype)

  def embed_text(self, token_ids: jax.Array,
                 dropout_key: jax.Array | None = None) -> jax.Array:
    """Returns float [N, L, D] for token_ids int32 [N, L]."""
    return self.text_embeddings(token_ids, dropout_key)

  def embed_image(self, features: jax.Array, boxes: jax.Array,
                  dropout_key: jax.Array | None = None) -> jax.Array:
    """Returns float [N, R, D] for features [N, R, F] and boxes [N, R, 7]."""
    return self.image_embeddings(
        features, boxes, self.text_embeddings.type_row(uniter.IMAGE_TYPE),
        dropout_key)

  def mask_regions(self, features: jax.Array,
                   is_masked: jax.Array) -> jax.Array:
    """Returns region features, the learnt vector added where masked.

    Neither phase masks regions; UNITER's pretraining does.

    Args:
      features: float [N, R, F].
      is_masked: bool [N, R].
    """
    return self.image_embeddings.mask_regions(features, is_masked)

  def pooled(self, states: jax.Array) -> jax.Array:
    """Returns float [N, D], what scores are read off, for [N, >=1, D]."""
    return self.pooler(states)

  def encode(self, embeddings: jax.Array, token_mask: jax.Array, *,
             num_outputs: int,
             dropout_key: jax.Array | None = None) -> jax.Array:
    """Returns float [N, num_outputs, D], the last layer's leading states.

    Args:
      embeddings: float [N, T, D], text first ([CLS] at 0), then regions.
      token_mask: bool [N, T], True where real.
      num_outputs: 1 for the matching score, the text's length for words.
      dropout_key: PRNG key, or None for no dropout.
    """
    num_rows, width = token_mask.shape
    keys = (None if dropout_key is None
            else jax.random.split(dropout_key, num_rows))
    return self.encode_tokens(
        embeddings.reshape(-1, embeddings.shape[-1]), token_mask.reshape(-1),
        layouts.rectangle(num_rows, width), num_outputs=num_outputs,
        dropout_keys=keys)

  def encode_tokens(self, embeddings: jax.Array, token_mask: jax.Array,
                    layout: layouts.Layout, *, num_outputs: int,
                    dropout_keys: jax.Array | None = None,
                    reads_all: jax.Array | None = None) -> jax.Array:
    """Returns float [rows, num_outputs, D]; see `uniter.Encoder`.

    Args:
      embeddings: float [S, D], in each row text, then regions.
      token_mask: bool [S], True where real.
      layout: where the tokens stand.
      num_outputs: as above.
      dropout_keys: PRNG key of each row, or None for no dropout.
      reads_all: bool [], False if only the first state of each row is read.
    """
    return self.encoder(embeddings, token_mask, layout,
                        num_outputs=num_outputs, dropout_keys=dropout_keys,
                        reads_all=reads_all)

  def match_logits(self, states: jax.Array) -> jax.Array:
    """Returns float32 [N], the raw matching score, for states [N, >=1, D]."""
    return self.rank_output(self.pooler(states))[:, 0]

  def itm_logits(self, states: jax.Array) -> jax.Array:
    """Returns float32 [N, 2]: no match, match."""
    return self.itm_output(self.pooler(states))

  def mlm_logits(self, states: jax.Array) -> jax.Array:
    """Returns float32 [..., V] for states [..., D] at masked positions."""
    return self._word_logits(self.mlm_output, states)

  def correction_logits(self, states: jax.Array) -> jax.Array:
    """Returns float32 [..., V] for states [..., D] at replaced positions."""
    return self._word_logits(self.correction_output, states)

  def disc_logits(self, states: jax.Array) -> jax.Array:
    """Returns float32 [..., 2]: replaced, same word, for states [..., D]."""
    return self.disc_output(states)

  def _word_logits(self, head: heads.WordHead, states: jax.Array) -> jax.Array:
    decoded = self.text_embeddings.decode(head.transform(states))
    return head.add_bias(decoded)

  def every_output(self, token_ids: jax.Array, features: jax.Array,
                   boxes: jax.Array) -> tuple[jax.Array, ...]:
    """Touches every parameter once: what `init` is called with."""
    text = self.embed_text(token_ids)
    embeddings = jnp.concatenate(
        [text, self.embed_image(features, boxes)], axis=1)
    mask = jnp.ones(embeddings.shape[:2], bool)
    states = self.encode(embeddings, mask, num_outputs=text.shape[1])
    return (self.match_logits(states), self.itm_logits(states),
            self.mlm_logits(states), self.correction_logits(states),
            self.disc_logits(states))


def precision(model: RetrievalModel) -> str:
  """Returns what its numbers are computed in, for people and results."""
  return (f'{jnp.dtype(model.dtype).name}, {model.matmul_precision} on '
          f'{jax.default_backend()}')


def apply(model: RetrievalModel, params: Any, method: str, *args: Any,
          **kwargs: Any) -> Any:
  """Returns what a method of the network gives for these parameters.

  The products in it, and in its gradient, are as precise as the network says,
  whatever JAX would do on the device unasked.
  """
  with jax.default_matmul_precision(model.matmul_precision):
    return model.apply({'params': params}, *args, method=method, **kwargs)


def init_parameters(model: RetrievalModel, key: jax.Array) -> dict:
  """Returns fresh float32 parameters, initialised as the release does but for
  one bias: that of the box projection, see `uniter.centring_bias`."""
  c = model.config
  variables = jax.jit(functools.partial(
      model.init, method=RetrievalModel.every_output))(
          key, jnp.zeros((1, 2), jnp.int32),
          jnp.zeros((1, 1, c.feature_size)), jnp.zeros((1, 1, 7)))
  params = variables['params']
  images = params['image_embeddings']
  projection = images['box_projection']
  centred = projection | {'bias': uniter.centring_bias(projection['kernel'])}
  return params | {
      'image_embeddings': images | {'box_projection': centred}}


def parameter_shapes(model: RetrievalModel) -> dict:
  """Returns the parameters' shapes and dtypes without making them."""
  return jax.eval_shape(lambda: init_parameters(model, jax.random.key(0)))
