"""Stage 1 (TAGS) on Flickr30K with UNITER-large.

Data: UNITER's LMDB folders (_uniter.py) under --config.data.root=FOLDER.
Hardware: 8 devices in the release; any number that divides 256.
Computes in float32; --config.compute.dtype=bfloat16 is the fast setting.
Needs a start: pretrained UNITER, or BERT, converted (docs/release.md), as
--config.init_from=CHECKPOINT; init_from=fresh starts from random weights.
The release's stage 2 continues from update 2000, which is kept for that.
Not run yet. Published R@1 after stage 2: text 90.6, image 77.3.
"""

import ml_collections

from tagsdc_jax.configs import _uniter


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 1 with the numbers of the release."""
  config = _uniter.large_config()
  _uniter.set_flickr30k(config)
  config.phase = 'tags'
  config.num_updates = 5000
  config.keep_at_updates = (2000,)
  config.negatives.num_hard = 23
  config.negatives.temperature = 2.0
  config.losses.synthetic = 1e-3
  config.losses.mlm = 0.05
  config.batch.positives = 1
  config.batch.micro_batches = 32 * _uniter.NUM_DEVICES
  config.optimizer.learning_rate = 5e-5
  config.optimizer.warmup_updates = 500
  return config
