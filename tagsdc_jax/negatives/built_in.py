"""The built-in sources of negatives."""

from tagsdc_jax import settings
from tagsdc_jax.negatives import (
  mask_refill,
  retrieved,
  source,
  static_refill,
  word_swap,
)

# Keys are the names used in `negatives.sources`.
BUILT_IN = {
  own.name: own
  for own in (
    retrieved.IMAGES,
    retrieved.TEXTS,
    mask_refill.MASK_REFILL,
    static_refill.STATIC_REFILL,
    word_swap.WORD_SWAP,
  )
}


def of_settings(config: settings.Settings) -> tuple[source.Source, ...]:
  """Returns the sources that the settings name; see `source.find`."""
  return source.find(config.negatives.sources, BUILT_IN, config)
