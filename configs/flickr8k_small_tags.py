"""Stage 1 (TAGS) on a few thousand photos, from flickr8k_small_pretrain.

Ten minutes on one CPU core. Tried from weaker weights only, at a rate of 5e-4,
and without a gain yet: docs/evidence.md. Commands and data:
flickr8k_small_align.py.
"""

import ml_collections

from tagsdc_jax import settings
from tagsdc_jax.configs import flickr8k_small_pretrain


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 1; pass --config.init_from=RUN_DIR of the pretraining."""
  config = flickr8k_small_pretrain.get_config()
  config.phase = 'tags'
  config.init_from = settings.REQUIRED
  config.num_updates = 150
  config.checkpoint_every = 75
  config.eval_every = 75
  config.log_every = 10
  config.negatives.pool_size = 31
  config.negatives.num_hard = 3
  config.negatives.num_copies = 2
  config.negatives.num_samples = 4
  config.losses.synthetic = 1.0
  config.losses.mlm = 0.1
  config.optimizer.learning_rate = 3e-4
  config.optimizer.warmup_updates = 20
  return config
