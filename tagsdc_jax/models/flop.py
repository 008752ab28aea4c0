"""FLOP of the network's matrix products, for both numpy and JAX arrays.

A product of [m, k] and [k, n] counts as 2 m k n. Look-ups, biases, LayerNorm,
softmax, GELU, dropout, and heads of one or two outputs are negligible and not
counted.
"""

from jaxtyping import Float, Int

from tagsdc_jax import arrays, settings

# One forward product; two backward ones, for the inputs and for the weights.
WITH_GRADIENT = 3
# No gradient flows to the region features.
REGIONS_WITH_GRADIENT = 2
_BOX_SIZE = 7

Count = Int[arrays.Array, '*rows']
Flop = Float[arrays.Array, '*rows']


def encoder(
  model: settings.Model, lengths: Count, num_outputs: Count | int
) -> Flop:
  """Returns the FLOP of one pass per row.

  Args:
    model: sizes.
    lengths: number of real tokens and regions of each row.
    num_outputs: number of states needed from the last layer. If it is the int
      1, the single query goes through the projections of keys and values, see
      `models.layers`; the entries of an array must be above 1.
  """
  n = 1.0 * lengths  # Integers would overflow.
  hidden, inner = model.hidden_size, model.intermediate_size
  feed_forward = 4 * hidden * inner
  inner_layer = n * (8 * hidden**2 + feed_forward) + 4 * hidden * n**2
  if isinstance(num_outputs, int) and num_outputs == 1:
    last_layer = 8 * hidden**2 + feed_forward + 4 * model.num_heads * hidden * n
  else:
    last_layer = (
      4 * hidden**2 * n
      + num_outputs * (4.0 * hidden**2 + feed_forward)
      + 4 * hidden * n * num_outputs
    )
  return (model.num_layers - 1) * inner_layer + last_layer


def scored(model: settings.Model, lengths: Count) -> Flop:
  """Returns the FLOP of one matching score per row.

  Args:
    model: sizes.
    lengths: number of real tokens and regions of each row.
  """
  return encoder(model, lengths, 1) + pooled(model)


def pooled(model: settings.Model) -> float:
  """Returns the FLOP of the pooler for one row."""
  return 2.0 * model.hidden_size**2


def word(model: settings.Model) -> float:
  """Returns the FLOP of the MLM or correction head at one position."""
  hidden = model.hidden_size
  return 2.0 * (hidden**2 + hidden * model.vocab_size)


def regions(model: settings.Model, num_regions: Count) -> Flop:
  """Returns the FLOP of embedding each image."""
  return (
    2.0 * model.hidden_size * (model.feature_size + _BOX_SIZE) * num_regions
  )
