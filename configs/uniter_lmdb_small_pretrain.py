"""Pretraining of a small model on any data in UNITER's LMDB format.

Masked language modeling and image-text matching from scratch, for features that
no pretrained UNITER fits. Commands and folders: uniter_lmdb_small.py. Intended
for about 10,000 captions; increase num_updates for more data. Not run yet.
"""

import ml_collections

from tagsdc_jax.configs import uniter_lmdb_small


def get_config() -> ml_collections.ConfigDict:
  """Returns MLM and image-text matching from scratch."""
  config = uniter_lmdb_small.get_config()
  config.phase = 'pretrain'
  config.num_updates = 5000
  config.checkpoint_every = 500
  config.eval_every = 500
  config.batch.positives = 64
  config.batch.micro_batches = 1
  config.negatives.num_copies = 1
  config.negatives.num_in_batch = 4
  config.losses.mlm = 0.5
  config.optimizer.learning_rate = 3e-4
  config.optimizer.warmup_updates = 500
  return config
