"""Stage 2 (DC) of a small model on own data, from own_small_tags.

Commands, folders and sizes: own_small_pretrain.py.
"""

import ml_collections

from tagsdc_jax.configs import own_small_tags


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 2; pass --config.init_from=RUN_DIR of own_small_tags."""
  config = own_small_tags.get_config()
  config.phase = 'dc'
  config.num_updates = 30
  config.checkpoint_every = 15
  config.eval_every = 15
  config.losses.discrimination = 0.3
  config.losses.correction = 0.1
  config.optimizer.learning_rate = 1e-4
  config.optimizer.warmup_updates = 5
  return config
