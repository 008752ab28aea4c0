"""Stage 2 (DC) on Flickr30K with UNITER-large, from flickr30k_large_tags.

Data: UNITER's LMDB folders (_uniter.py) under --config.data.root=FOLDER.
Hardware: 8 devices in the release; any number that divides 256.
Computes in float32; --config.compute.dtype=bfloat16 is the fast setting.
Needs a start: stage 1 at update 2000, as the release does:
--config.init_from=STAGE1_RUN/checkpoints/kept/2000.
Not run yet. Published R@1: text 90.6, image 77.3.
"""

import ml_collections

from tagsdc_jax.configs import _uniter


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 2 with the numbers of the release."""
  config = _uniter.large_config()
  _uniter.set_flickr30k(config)
  config.phase = 'dc'
  config.num_updates = 1500
  config.checkpoint_every = 150
  config.eval_every = 150
  config.negatives.num_hard = 23
  config.negatives.temperature = 1.5
  config.losses.synthetic = 5e-4
  config.losses.mlm = 0.05
  config.losses.discrimination = 5e-4
  config.losses.correction = 5e-4
  config.batch.positives = 1
  config.batch.micro_batches = 32 * _uniter.NUM_DEVICES
  config.optimizer.learning_rate = 1e-5
  config.optimizer.warmup_updates = 150
  return config
