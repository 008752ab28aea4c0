"""Stage 2 (DC) on the embedded world, from world_tags.

Not run yet.
"""

import ml_collections

from tagsdc_jax.configs import world_tags


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 2; give --config.init_from=RUN_DIR of world_tags."""
  config = world_tags.get_config()
  config.phase = 'dc'
  config.num_updates = 200
  config.losses.discrimination = 0.5
  config.losses.correction = 0.1
  config.optimizer.learning_rate = 1e-4
  config.optimizer.warmup_updates = 20
  return config
