"""Stage 1 (TAGS) on COCO with UNITER-base.

Data: UNITER's LMDB folders (_uniter.py) under --config.data.root=FOLDER.
Hardware: 8 devices in the release; any number that divides 256.
Computes in float32; --config.compute.dtype=bfloat16 is the fast setting.
Needs a start: pretrained UNITER, or BERT, converted (docs/release.md), as
--config.init_from=CHECKPOINT; init_from=fresh starts from random weights.
The release's stage 2 continues from update 2000, which is kept for that.
Not run yet. Published R@1 after stage 2: text 66.6, image 51.6 (5K).
"""

import ml_collections

from tagsdc_jax.configs import _uniter


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 1 with the numbers of the release."""
  config = _uniter.base_config()
  _uniter.set_coco(config)
  config.phase = 'tags'
  config.num_updates = 5000
  config.keep_at_updates = (2000,)
  config.negatives.num_hard = 31
  config.negatives.temperature = 1.5
  config.losses.synthetic = 5e-5
  config.losses.mlm = 0.01
  config.batch.positives = 1
  config.batch.micro_batches = 32 * _uniter.NUM_DEVICES
  config.optimizer.learning_rate = 5e-5
  config.optimizer.warmup_updates = 500
  return config
