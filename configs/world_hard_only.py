"""Stage 1 without tailored negatives: what world_tags is compared with.

The same start, data and updates, masked language modeling, and the same losses
on retrieved images and captions, but no loss on generated sentences.
"""

import ml_collections

from tagsdc_jax.configs import world_tags


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 1 with hard retrieved negatives only."""
  config = world_tags.get_config()
  config.losses.synthetic = 0.0
  # Masked language modeling stays; sentences that no loss reads are not worth
  # their scoring.
  config.negatives.num_samples = 1
  config.negatives.num_hard_by_source = (config.negatives.num_hard,) * 2 + (1,)
  return config
