"""Pretraining of a small model on a few thousand photos."""

import ml_collections

from tagsdc_jax.configs import flickr8k_small_align


def get_config() -> ml_collections.ConfigDict:
  """Returns MLM, matching and alignment from flickr8k_small_align."""
  config = flickr8k_small_align.get_config()
  config.num_updates = 4000
  config.checkpoint_every = 500
  config.eval_every = 500
  config.log_every = 100
  config.model.dropout_rate = 0.1
  config.batch.positives = 32
  config.negatives.num_in_batch = 4
  config.losses.mlm = 0.3
  config.losses.alignment = 0.3
  config.optimizer.learning_rate = 1e-3
  config.optimizer.warmup_updates = 200
  config.optimizer.weight_decay = 0.05
  return config
