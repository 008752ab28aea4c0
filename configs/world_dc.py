"""Stage 2 (DC) on the embedded world, from world_tags.

NUMBERS
"""

import ml_collections

from tagsdc_jax.configs import world_tags


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 2; give --config.init_from=RUN_DIR of world_tags."""
  config = world_tags.get_config()
  config.phase = 'dc'
  config.init_from = ''
  config.losses.discrimination = 0.3
  config.losses.correction = 0.1
  config.optimizer.learning_rate = 5e-4
  return config
