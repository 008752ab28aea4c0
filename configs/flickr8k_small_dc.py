"""Stage 2 (DC) on a few thousand photos, from flickr8k_small_tags.

Not measured yet; commands and data: flickr8k_small_align.py.
"""

import ml_collections

from tagsdc_jax.configs import flickr8k_small_tags


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 2; pass --config.init_from=RUN_DIR of the first stage."""
  config = flickr8k_small_tags.get_config()
  config.phase = 'dc'
  config.losses.discrimination = 0.3
  config.losses.correction = 0.1
  config.optimizer.learning_rate = 2e-4
  return config
