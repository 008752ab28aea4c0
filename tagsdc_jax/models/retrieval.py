"""The whole network: one module, one method per output, no loss."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax import settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.models import heads, layers, uniter
from tagsdc_jax.models import token_layout as layouts


class RetrievalModel(nn.Module):
  """UNITER with the heads of pretraining, TAGS and DC.

  All heads exist in every phase, so a checkpoint of one phase can start the
  next; the optimizer does not change heads that a phase does not use.

  Where float32 is stated below, it is float64 if dtype is (for comparisons).
  """

  config: settings.Model
  dtype: DTypeLike = jnp.float32
  attention: str = 'plain'  # One of settings.ATTENTION.
  recompute_layers: bool = False  # See settings.Compute.
  matmul_precision: str = 'highest'  # One of settings.PRECISIONS.

  def setup(self) -> None:
    config, dtype = self.config, self.dtype
    self.text_embeddings = uniter.TextEmbeddings(config, dtype)
    self.image_embeddings = uniter.ImageEmbeddings(config, dtype)
    self.encoder = uniter.Encoder(
      config, dtype, self.attention, self.recompute_layers
    )
    self.pooler = heads.Pooler(config, dtype)
    # Scores are float32 on all devices, whatever the encoder's dtype.
    scores = layers.score_dtype(dtype)
    self.rank_output, self.itm_output, self.disc_output = (
      layers.dense(config, size, scores, None, jax.lax.Precision.HIGHEST)
      for size in (1, 2, 2)
    )
    self.mlm_output = heads.WordHead(config, dtype)
    self.correction_output = heads.WordHead(config, dtype)

  def embed_text(
    self,
    token_ids: Int[Array, 'rows L'],
    dropout_key: Key[Array, ''] | None = None,
  ) -> Float[Array, 'rows L D']:
    """Returns the embeddings of texts."""
    return self.text_embeddings(token_ids, dropout_key)

  def embed_image(
    self,
    features: Float[Array, 'rows R F'],
    boxes: Float[Array, 'rows R 7'],
    dropout_key: Key[Array, ''] | None = None,
  ) -> Float[Array, 'rows R D']:
    """Returns the embeddings of images; see `uniter.ImageEmbeddings`."""
    return self.image_embeddings(
      features,
      boxes,
      self.text_embeddings.type_row(uniter.IMAGE_TYPE),
      dropout_key,
    )

  def mask_regions(
    self, features: Float[Array, 'rows R F'], is_masked: Bool[Array, 'rows R']
  ) -> Float[Array, 'rows R F']:
    """Returns region features with the learned vector added where masked.

    UNITER's pretraining masks regions; none of the phases here does.
    """
    return self.image_embeddings.mask_regions(features, is_masked)

  def pooled(
    self, states: Float[Array, 'rows states D']
  ) -> Float[Array, 'rows D']:
    """Returns the pooled state of each row, from which scores are computed."""
    return self.pooler(states)

  def encode(
    self,
    embeddings: Float[Array, 'rows T D'],
    token_mask: Bool[Array, 'rows T'],
    *,
    num_outputs: int,
    dropout_key: Key[Array, ''] | None = None,
  ) -> Float[Array, 'rows num_outputs D']:
    """Returns the last layer's leading states.

    Args:
      embeddings: of the text first ([CLS] at 0), then of the regions.
      token_mask: True where real.
      num_outputs: 1 for the matching score, the text's length for words.
      dropout_key: None for no dropout.
    """
    num_rows, length = token_mask.shape
    keys = (
      None if dropout_key is None else jax.random.split(dropout_key, num_rows)
    )
    return self.encode_tokens(
      embeddings.reshape(-1, embeddings.shape[-1]),
      token_mask.reshape(-1),
      layouts.rectangle(num_rows, length),
      num_outputs=num_outputs,
      dropout_keys=keys,
    )

  def encode_tokens(
    self,
    embeddings: Float[Array, 'tokens D'],
    token_mask: Bool[Array, 'tokens'],
    layout: layouts.Layout,
    *,
    num_outputs: int,
    dropout_keys: Key[Array, 'rows'] | None = None,
    reads_all: Bool[Array, ''] | None = None,
  ) -> Float[Array, 'rows num_outputs D']:
    """Returns the last layer's leading states; see `uniter.Encoder`.

    Args:
      embeddings: in each row those of the text, then those of the regions.
      token_mask: True where real.
      layout: the row of each token.
      num_outputs: as for `encode`.
      dropout_keys: one per row, or None for no dropout.
      reads_all: False if only the first state of each row is read.
    """
    return self.encoder(
      embeddings,
      token_mask,
      layout,
      num_outputs=num_outputs,
      dropout_keys=dropout_keys,
      reads_all=reads_all,
    )

  def match_logits(
    self, states: Float[Array, 'rows states D']
  ) -> Float[Array, 'rows']:
    """Returns the raw matching score of each row, float32."""
    return self.rank_output(self.pooler(states))[:, 0]

  def itm_logits(
    self, states: Float[Array, 'rows states D']
  ) -> Float[Array, 'rows 2']:
    """Returns the logits of no match and match, float32."""
    return self.itm_output(self.pooler(states))

  def mlm_logits(
    self, states: Float[Array, '*words D']
  ) -> Float[Array, '*words V']:
    """Returns float32 logits for the states of masked positions."""
    return self._word_logits(self.mlm_output, states)

  def correction_logits(
    self, states: Float[Array, '*words D']
  ) -> Float[Array, '*words V']:
    """Returns float32 logits for the states of replaced positions."""
    return self._word_logits(self.correction_output, states)

  def disc_logits(
    self, states: Float[Array, '*words D']
  ) -> Float[Array, '*words 2']:
    """Returns the logits of replaced word and same word, float32."""
    return self.disc_output(states)

  def _word_logits(
    self, head: heads.WordHead, states: Float[Array, '*words D']
  ) -> Float[Array, '*words V']:
    decoded = self.text_embeddings.decode(head.transform(states))
    return head.add_bias(decoded)

  def every_output(
    self,
    token_ids: Int[Array, 'rows L'],
    features: Float[Array, 'rows R F'],
    boxes: Float[Array, 'rows R 7'],
  ) -> tuple[Float[Array, '...'], ...]:
    """Uses every parameter once; `init` is called with this method."""
    text = self.embed_text(token_ids)
    embeddings = jnp.concatenate(
      [text, self.embed_image(features, boxes)], axis=1
    )
    mask = jnp.ones(embeddings.shape[:2], bool)
    states = self.encode(embeddings, mask, num_outputs=text.shape[1])
    return (
      self.match_logits(states),
      self.itm_logits(states),
      self.mlm_logits(states),
      self.correction_logits(states),
      self.disc_logits(states),
    )


def precision(model: RetrievalModel) -> str:
  """Returns the model's precision as text, for messages and result files."""
  return (
    f'{jnp.dtype(model.dtype).name}, {model.matmul_precision} on '
    f'{jax.default_backend()}'
  )


def apply(
  model: RetrievalModel, params: Any, method: str, *args: Any, **kwargs: Any
) -> Any:
  """Returns the result of a method of the network for these parameters.

  Matrix products in it and in its gradient use the model's matmul_precision,
  not the device's default.
  """
  with jax.default_matmul_precision(model.matmul_precision):
    return model.apply({'params': params}, *args, method=method, **kwargs)


def init_parameters(model: RetrievalModel, key: Key[Array, '']) -> dict:
  """Returns newly initialized float32 parameters.

  The initialization is the release's except for the bias of the box projection,
  see `uniter.centering_bias`.
  """
  params = _init(model, key)['params']
  images = params['image_embeddings']
  projection = images['box_projection']
  centered = projection | {'bias': uniter.centering_bias(projection['kernel'])}
  return params | {'image_embeddings': images | {'box_projection': centered}}


# Of the module, so that a network of the same sizes is not compiled again.
@functools.partial(jax.jit, static_argnums=0)
def _init(model: RetrievalModel, key: Key[Array, '']) -> Any:
  return model.init(
    key,
    jnp.zeros((1, 2), jnp.int32),
    jnp.zeros((1, 1, model.config.feature_size)),
    jnp.zeros((1, 1, 7)),
    method=RetrievalModel.every_output,
  )


def parameter_shapes(model: RetrievalModel) -> dict:
  """Returns the parameters' shapes and dtypes without creating them."""
  return jax.eval_shape(lambda: init_parameters(model, jax.random.key(0)))
