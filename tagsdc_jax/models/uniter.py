"""UNITER: embeddings of text and regions, and the encoder over both.

Independent of negatives and losses. Reference: docs/method.md, 1;
UNITER (arXiv 1909.11740) as TAGS-DC uses it.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax import settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.models import dropout, layers
from tagsdc_jax.models import token_layout as layouts

TEXT_TYPE, IMAGE_TYPE = 0, 1
# A typical box: x1, y1, x2, y2, w, h, w * h relative to the image's size.
_TYPICAL_BOX = (0.4, 0.4, 0.6, 0.6, 0.2, 0.2, 0.04)


def centering_bias(kernel: Float[Array, '7 D']) -> Float[Array, 'D']:
  """Returns the bias with which a typical box projects to 0.

  As seven numbers between 0 and 1, all boxes are similar. With a bias of 0, the
  LayerNorm after the projection is dominated by what they have in common, and a
  newly initialized network takes many times longer to learn positions: trained
  on the embedded world's relations alone, accuracy is at chance after 1,500
  batches of 128 without this bias, and 90 % after 450 batches with it.

  Args:
    kernel: the kernel of the box projection.
  """
  return -jnp.matmul(
    jnp.asarray(_TYPICAL_BOX, kernel.dtype),
    kernel,
    precision=jax.lax.Precision.HIGHEST,
  )


class TextEmbeddings(nn.Module):
  """Word + position + token type, LayerNorm, dropout."""

  config: settings.Model
  dtype: DTypeLike

  def setup(self) -> None:
    config = self.config

    def table(rows: int) -> nn.Embed:
      return nn.Embed(
        rows,
        config.hidden_size,
        dtype=self.dtype,
        embedding_init=layers.initializer(config),
      )

    self.word = table(config.vocab_size)
    self.position = table(config.max_positions)
    self.token_type = table(config.num_token_types)
    self.norm = layers.layer_norm(self.dtype, None)

  def __call__(
    self, token_ids: Int[Array, 'rows L'], dropout_key: Key[Array, ''] | None
  ) -> Float[Array, 'rows L D']:
    """Returns the embeddings; no dropout if the key is None."""
    words = self.word(token_ids)
    if not self.config.train_padding_row:
      words = jnp.where(
        (token_ids == 0)[..., None], jax.lax.stop_gradient(words), words
      )
    positions = self.position(jnp.arange(token_ids.shape[-1]))
    x = words + positions[None] + self.type_row(TEXT_TYPE)
    return dropout.dropout(
      self.norm(x), self.config.dropout_rate, dropout_key, 0
    )

  def type_row(self, token_type: int) -> Float[Array, '1 1 D']:
    """Returns the token-type embedding."""
    return self.token_type(jnp.full((1, 1), token_type))

  def decode(self, x: Float[Array, '*words D']) -> Float[Array, '*words V']:
    """Returns x times the transposed word table."""
    return self.word.attend(x)


class ImageEmbeddings(nn.Module):
  """LN(W_f feature) + LN(W_p box) + token type, then LayerNorm, dropout."""

  config: settings.Model
  dtype: DTypeLike

  def setup(self) -> None:
    config = self.config
    self.region_mask_embedding = self.param(
      'region_mask_embedding',
      layers.initializer(config),
      (2, config.feature_size),
    )

    def projection() -> nn.Dense:
      return layers.dense(config, config.hidden_size, self.dtype, None)

    self.feature_projection = projection()
    self.feature_norm = layers.layer_norm(self.dtype, None)
    self.box_projection = projection()
    self.box_norm = layers.layer_norm(self.dtype, None)
    self.norm = layers.layer_norm(self.dtype, None)

  def mask_regions(
    self, features: Float[Array, 'rows R F'], is_masked: Bool[Array, 'rows R']
  ) -> Float[Array, 'rows R F']:
    """Returns the features with a learned vector added where masked.

    The first of the table's two rows is for regions that are not masked; it is
    never added, whatever its values.
    """
    masked = features + self.region_mask_embedding[1].reshape(1, 1, -1)
    return jnp.where(is_masked[..., None], masked, features)

  def __call__(
    self,
    features: Float[Array, 'rows R F'],
    boxes: Float[Array, 'rows R 7'],
    type_row: Float[Array, '1 1 D'],
    dropout_key: Key[Array, ''] | None,
  ) -> Float[Array, 'rows R D']:
    """Returns the embeddings of images.

    Args:
      features: may be float16.
      boxes: float32, numbers from 0 to 1; the order of regions has no effect.
      type_row: token-type embedding of images.
      dropout_key: None for no dropout.
    """
    x = (
      self.feature_norm(self.feature_projection(features.astype(self.dtype)))
      + self.box_norm(self.box_projection(boxes.astype(self.dtype)))
      + type_row
    )
    return dropout.dropout(
      self.norm(x), self.config.dropout_rate, dropout_key, 0
    )


class Encoder(nn.Module):
  """A stack of post-norm BERT layers.

  All layers but the last run in one `lax.scan` over stacked parameters
  ([num_layers - 1, ...] under `layers`), so that compile time does not grow
  with depth. The last one (`last_layer`) is separate because it may be computed
  for a few tokens only.
  """

  config: settings.Model
  dtype: DTypeLike
  attention: str = 'plain'  # One of settings.ATTENTION.
  recompute_layers: bool = False  # In backward passes, see settings.Compute.

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'tokens D'],
    token_mask: Bool[Array, 'tokens'],
    layout: layouts.Layout,
    *,
    num_outputs: int,
    dropout_keys: Key[Array, 'rows'] | None,
    reads_all: Bool[Array, ''] | None = None,
  ) -> Float[Array, 'rows num_outputs D']:
    """Returns the last layer's states of each row's leading tokens.

    Args:
      x: embeddings of the tokens.
      token_mask: True where real.
      layout: the row of each token; the result has layout.max_rows rows, of
        which those beyond layout.num_rows have arbitrary finite values.
      num_outputs: the number of leading states needed. The matching score needs
        [CLS] only, which saves most of the last layer.
      dropout_keys: one per row, or None for no dropout.
      reads_all: whether more than each row's first state is used; if not, the
        others are 0 and cost nothing. None means True.
    """
    layer = layers.EncoderLayer(
      self.config, self.dtype, self.attention, parent=None
    )

    def init(key: Key[Array, '']) -> Any:
      return layer.init(
        key, x[:1], token_mask[:1], layouts.rectangle(1, 1), False, None
      )['params']

    is_merged = self.has_variable('params', 'layers') and not self.has_variable(
      'params', 'last_layer'
    )
    num_stacked = self.config.num_layers - (not is_merged)
    last = None if is_merged else self._layer_parameters('last_layer', init)
    keys = _layer_keys(dropout_keys, self.config.num_layers)

    def apply(
      x: Float[Array, 'tokens D'],
      params: Any,
      keys: Key[Array, 'rows'] | None,
      first_only: bool,
    ) -> Any:
      return layer.apply(
        {'params': params}, x, token_mask, layout, first_only, keys
      )

    # In a scan, common subexpression elimination needs no prevention.
    run = (
      jax.checkpoint(apply, prevent_cse=False, static_argnums=(3,))
      if self.recompute_layers
      else apply
    )
    if num_stacked:
      stacked = self._layer_parameters(
        'layers', lambda key: jax.vmap(init)(jax.random.split(key, num_stacked))
      )
      x, _ = jax.lax.scan(
        lambda x, layer_params: (run(x, *layer_params, False), None),
        x,
        (stacked, None if keys is None else keys[:num_stacked]),
        length=num_stacked,
      )
    if is_merged:
      return layout.leading(x, num_outputs)
    keys = None if keys is None else keys[-1]

    def run_last(
      first_only: bool, x: Float[Array, 'tokens D']
    ) -> Float[Array, 'rows num_outputs D']:
      x = run(x, last, keys, first_only)
      if not first_only:
        return layout.leading(x, num_outputs)
      return jnp.pad(x[:, None], ((0, 0), (0, num_outputs - 1), (0, 0)))

    if num_outputs == 1 or reads_all is None:
      return run_last(num_outputs == 1, x)
    return jax.lax.cond(
      reads_all,
      functools.partial(run_last, False),
      functools.partial(run_last, True),
      x,
    )

  def _layer_parameters(self, name: str, init: Callable) -> Any:
    # `self.param` traces `init` again to check the shapes of existing
    # parameters, a tenth of the time it takes to trace a train step. The layers
    # and the scan that use the parameters check them anyway.
    if self.has_variable('params', name):
      return self.get_variable('params', name)
    return self.param(name, init)


def merge_layers(encoder: Any) -> Any:
  """Returns encoder parameters with the last layer stacked onto the others.

  If all states are needed, this saves compiling one layer.
  """
  last = jax.tree.map(lambda x: x[None], encoder['last_layer'])
  if 'layers' not in encoder:
    return {'layers': last}
  return {
    'layers': jax.tree.map(
      lambda *xs: jnp.concatenate(xs), encoder['layers'], last
    )
  }


def _layer_keys(
  row_keys: Key[Array, 'rows'] | None, num_layers: int
) -> Key[Array, 'num_layers rows'] | None:
  """Returns one key per layer and row."""
  if row_keys is None:
    return None
  return jax.vmap(lambda key: jax.random.split(key, num_layers), out_axes=1)(
    row_keys
  )
