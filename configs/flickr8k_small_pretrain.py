r"""Pretraining of a small model on a few thousand photos, from nothing."""

import ml_collections

from tagsdc_jax.configs import own_small_pretrain


def get_config() -> ml_collections.ConfigDict:
  """Returns MLM, matching and alignment from random weights."""
  config = own_small_pretrain.get_config()
  config.num_updates = 6000
  config.checkpoint_every = 500
  config.eval_every = 1000
  config.log_every = 100
  config.model.num_layers = 2
  config.model.dropout_rate = 0.2
  config.batch.positives = 32
  config.negatives.num_in_batch = 4
  config.losses.alignment = 1.0
  config.optimizer.learning_rate = 1.5e-3
  config.optimizer.warmup_updates = 200
  config.optimizer.weight_decay = 0.05
  config.evaluation.validation_images = 100
  return config
