"""Pretraining of a small model on any data in UNITER's LMDB format.

Masked words and image-text matching from scratch, for where no pretrained
UNITER fits the features. Commands and folders: uniter_lmdb_small.py. For about
10,000 captions; more data deserves more updates. Not run yet.
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
