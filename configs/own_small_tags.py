"""Stage 1 (TAGS) of a small model on own data, from own_small_pretrain.

Commands, folders and sizes: own_small_pretrain.py.
"""

import ml_collections

from tagsdc_jax import settings
from tagsdc_jax.configs import own_small_pretrain


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 1; pass --config.init_from=RUN_DIR of the pretraining."""
  config = own_small_pretrain.get_config()
  config.phase = 'tags'
  config.init_from = settings.REQUIRED
  config.num_updates = 60
  config.checkpoint_every = 30
  config.eval_every = 30
  # Pool and positives need as many training pictures together: 19.
  config.batch.positives = 4
  config.negatives.pool_size = 15
  config.negatives.num_hard = 3
  config.negatives.num_copies = 2
  config.negatives.num_samples = 4
  config.losses.synthetic = 1.0
  config.losses.mlm = 0.2
  config.optimizer.learning_rate = 2e-4
  config.optimizer.warmup_updates = 10
  return config
