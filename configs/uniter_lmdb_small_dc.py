"""Stage 2 (DC) of a small model on any data in UNITER's LMDB format.

Commands and folders: uniter_lmdb_small.py. Not run yet.
"""

import ml_collections

from tagsdc_jax.configs import uniter_lmdb_small


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 2; pass --config.init_from=RUN_DIR of uniter_lmdb_small."""
  config = uniter_lmdb_small.get_config()
  config.phase = 'dc'
  config.num_updates = 500
  config.losses.mlm = 0.1
  config.optimizer.learning_rate = 2e-5
  config.optimizer.warmup_updates = 50
  return config
