"""FLOP of the network's matrix products, for numpy and JAX arrays alike.

A product of [m, k] and [k, n] counts 2 m k n. Left out, being far less, are
look-ups, biases, LayerNorm, softmax, GELU, dropout, and heads of one or two
outputs.
"""

from tagsdc_jax import arrays, settings

# Forward once; backward a product for the inputs and one for the weights.
WITH_GRADIENT = 3
# No gradient flows to the region features.
REGIONS_WITH_GRADIENT = 2
_BOX_SIZE = 7


def encoder(model: settings.Model, lengths: arrays.Array,
            num_outputs: arrays.Array | int) -> arrays.Array:
  """Returns the FLOP of one pass per row, float [...].

  Args:
    model: sizes.
    lengths: int [...], real tokens and regions.
    num_outputs: int [...] or one for all, states that are wanted of the last
      layer. Where it is the number 1 the one query goes through the projections
      of keys and values, see `models.layers`; an array must be above 1.
  """
  n = 1.0 * lengths  # Integers would overflow.
  width, inner = model.hidden_size, model.intermediate_size
  feed_forward = 4 * width * inner
  inner_layer = n * (8 * width**2 + feed_forward) + 4 * width * n**2
  if isinstance(num_outputs, int) and num_outputs == 1:
    last_layer = (8 * width**2 + feed_forward
                  + 4 * model.num_heads * width * n)
  else:
    last_layer = (4 * width**2 * n
                  + num_outputs * (4.0 * width**2 + feed_forward)
                  + 4 * width * n * num_outputs)
  return (model.num_layers - 1) * inner_layer + last_layer


def scored(model: settings.Model, lengths: arrays.Array) -> arrays.Array:
  """Returns the FLOP of a matching score per row, float [...].

  Args:
    model: sizes.
    lengths: int [...], real tokens and regions.
  """
  return encoder(model, lengths, 1) + pooled(model)


def pooled(model: settings.Model) -> float:
  """Returns the FLOP of what a row's scores are read off."""
  return 2.0 * model.hidden_size**2


def word(model: settings.Model) -> float:
  """Returns the FLOP of the MLM or correction head at one position."""
  width = model.hidden_size
  return 2.0 * (width**2 + width * model.vocab_size)


def regions(model: settings.Model, num_regions: arrays.Array) -> arrays.Array:
  """Returns the FLOP of embedding an image, float [...].

  Args:
    model: sizes.
    num_regions: int [...].
  """
  return 2.0 * model.hidden_size * (
      model.feature_size + _BOX_SIZE) * num_regions
