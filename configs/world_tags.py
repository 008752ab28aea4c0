"""Stage 1 (TAGS) on the embedded world, from world_pretrain.

Not run yet.
"""

import ml_collections

from tagsdc_jax.configs import world_pretrain


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 1; give --config.init_from=RUN_DIR of world_pretrain."""
  config = world_pretrain.get_config()
  config.phase = 'tags'
  config.num_updates = 300
  config.checkpoint_every = 100
  config.eval_every = 100
  config.log_every = 10
  config.batch.positives = 8
  config.batch.micro_batches = 2
  config.negatives.pool_size = 63
  config.negatives.num_hard = 7
  config.negatives.num_copies = 8
  config.negatives.num_samples = 8
  config.losses.synthetic = 1.0
  config.losses.mlm = 0.1
  config.optimizer.learning_rate = 3e-4
  config.optimizer.warmup_updates = 30
  return config
