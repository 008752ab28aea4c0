"""A vision transformer that encodes the patches of photos; inference only.

One module for ViT, DeiT, DINOv2 (with registers or without) and the vision
tower of SigLIP and SigLIP 2: they differ in the tokens before the patches, in
layer scale, in the activation, and in how position embeddings are resized.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tagsdc_jax.arrays import Array
from tagsdc_jax.models import layers

# By their names in Hugging Face configurations.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'gelu': layers.gelu,
  'gelu_pytorch_tanh': functools.partial(nn.gelu, approximate=True),
  'relu': nn.relu,
}
# Pixels that the cubic kernel reads beyond the border, at most.
_BORDER = 2


@dataclasses.dataclass(frozen=True)
class VisionConfig:
  """Sizes and variants of a vision transformer.

  Attributes:
    patch_size: side of a patch, in pixels.
    position_rows: rows, and columns, of patches that have a position embedding.
    hidden_size, num_layers, num_heads, mlp_size: as in BERT; with `is_gated`,
      mlp_size is that of each half.
    activation: one of ACTIVATIONS; a gated MLP has SiLU instead.
    epsilon: of LayerNorm.
    num_prefixes: tokens before the patches that have a position embedding:
      CLS, and DeiT's distillation token. SigLIP has none.
    num_registers: tokens between these and the patches, without a position.
    is_scaled: whether each branch is multiplied by a learned vector.
    is_gated: whether the MLP is a SwiGLU.
    has_qkv_bias: whether query, key and value have a bias.
    is_antialiased: whether position embeddings are smoothed when shrunk, by
      another cubic kernel.
  """

  patch_size: int
  position_rows: int
  hidden_size: int
  num_layers: int
  num_heads: int
  mlp_size: int
  activation: str = 'gelu'
  epsilon: float = 1e-6
  num_prefixes: int = 1
  num_registers: int = 0
  is_scaled: bool = False
  is_gated: bool = False
  has_qkv_bias: bool = True
  is_antialiased: bool = False


class VisionTransformer(nn.Module):
  """Encodes pictures as patch tokens."""

  config: VisionConfig

  @nn.compact
  def __call__(
    self, pixels: Float[Array, 'pictures height width 3']
  ) -> tuple[
    Float[Array, 'pictures rows columns D'], Float[Array, 'pictures D'] | None
  ]:
    """Returns the patch tokens after the last LayerNorm, and the CLS token.

    Args:
      pixels: normalized as the weights expect; sides are multiples of
        patch_size, and need not be those of training.
    Returns:
      the tokens, by row and column of their patch; and the CLS token, None if
      the network has none.
    """
    config = self.config
    size = config.patch_size
    patches = nn.Conv(
      config.hidden_size, (size, size), (size, size), 'VALID', name='patches'
    )(pixels)
    count, rows, columns, hidden = patches.shape
    prefixes, positions = self._positions(rows, columns)
    x = patches.reshape(count, rows * columns, hidden) + positions
    special = [] if prefixes is None else [prefixes]
    if config.num_registers:
      shape = (1, config.num_registers, hidden)
      special.append(self.param('registers', _normal, shape))
    x = jnp.concatenate(
      [*(jnp.broadcast_to(s, (count, *s.shape[1:])) for s in special), x], 1
    )
    for number in range(config.num_layers):
      x = Layer(config, name=f'layer_{number}')(x)
    x = _norm(config, 'norm')(x)
    tokens = x[:, config.num_prefixes + config.num_registers :]
    return (
      tokens.reshape(count, rows, columns, hidden),
      x[:, 0] if config.num_prefixes else None,
    )

  def _positions(
    self, rows: int, columns: int
  ) -> tuple[Float[Array, '1 prefixes D'] | None, Float[Array, '1 patches D']]:
    """Returns the prefix tokens and the patches' position embeddings."""
    config = self.config
    side, hidden, number = (
      config.position_rows,
      config.hidden_size,
      config.num_prefixes,
    )
    table = self.param('positions', _normal, (1, number + side**2, hidden))
    grid = resize(
      table[0, number:].reshape(side, side, hidden),
      (rows, columns),
      config.is_antialiased,
    ).reshape(1, rows * columns, hidden)
    if not number:
      return None, grid
    prefixes = self.param('prefixes', _normal, (1, number, hidden))
    return prefixes + table[:, :number], grid


class Layer(nn.Module):
  """Pre-norm self-attention and MLP."""

  config: VisionConfig

  @nn.compact
  def __call__(
    self, x: Float[Array, 'pictures tokens D']
  ) -> Float[Array, 'pictures tokens D']:
    """Returns the states of all tokens after this layer."""
    config = self.config
    count, length, hidden = x.shape
    normed = _norm(config, 'attention_norm')(x)
    query, key, value = (
      nn.Dense(hidden, use_bias=config.has_qkv_bias, name=name)(normed).reshape(
        count, length, config.num_heads, hidden // config.num_heads
      )
      for name in ('query', 'key', 'value')
    )
    mixed = jax.nn.dot_product_attention(query, key, value)
    mixed = nn.Dense(hidden, name='output')(mixed.reshape(x.shape))
    x = x + self._scaled(mixed, 'attention_scale')
    normed = _norm(config, 'mlp_norm')(x)
    if config.is_gated:
      both = nn.Dense(2 * config.mlp_size, name='mlp_inner')(normed)
      gate, inner = jnp.split(both, 2, axis=-1)
      inner = nn.silu(gate) * inner
    else:
      inner = nn.Dense(config.mlp_size, name='mlp_inner')(normed)
      inner = ACTIVATIONS[config.activation](inner)
    outer = nn.Dense(hidden, name='mlp_outer')(inner)
    return x + self._scaled(outer, 'mlp_scale')

  def _scaled(
    self, x: Float[Array, 'pictures tokens D'], name: str
  ) -> Float[Array, 'pictures tokens D']:
    if not self.config.is_scaled:
      return x
    scale = self.param(name, nn.initializers.ones, (self.config.hidden_size,))
    return x * scale[None, None]


def resize(
  table: Float[Array, 'rows columns D'],
  shape: tuple[int, int],
  is_antialiased: bool,
) -> Float[Array, 'new_rows new_columns D']:
  """Returns a table of position embeddings, resized with cubic interpolation.

  As torch.nn.functional.interpolate does with align_corners=False: without
  antialiasing it repeats the border and has the kernel for a = -0.75, with it
  it normalizes the weights at the border and has a = -0.5.

  Args:
    table: unchanged if it has the wanted shape.
    shape: rows and columns of the result.
    is_antialiased: see above.
  """
  if table.shape[:2] == shape:
    return table
  if is_antialiased:
    return jax.image.resize(
      table, (*shape, table.shape[2]), 'cubic', antialias=True
    )
  border = (_BORDER, _BORDER)
  scale = np.array(shape, np.float32) / np.array(table.shape[:2], np.float32)
  return jax.image.scale_and_translate(
    jnp.pad(table, (border, border, (0, 0)), 'edge'),
    (*shape, table.shape[2]),
    (0, 1),
    jnp.asarray(scale),
    jnp.asarray(-_BORDER * scale),
    'cubic-pytorch',
    antialias=False,
  )


_normal = nn.initializers.normal(0.02)


def _norm(config: VisionConfig, name: str) -> nn.LayerNorm:
  # Not the fast variance: E[x^2] - E[x]^2 loses digits where the mean is large.
  return nn.LayerNorm(
    epsilon=config.epsilon, name=name, use_fast_variance=False
  )
