"""Before world_pretrain: relations between objects, and nothing else.

Only captions with at most ten words, and only their relations masked. To
compare two objects, a network has to find both of them first: its MLM loss
stays at chance for thousands of updates and then falls. With all kinds of
words masked from the start, it stays there.
"""

import ml_collections

from tagsdc_jax.configs import world_pretrain


def get_config() -> ml_collections.ConfigDict:
  """Returns the first step of pretraining, from scratch."""
  config = world_pretrain.get_config()
  config.num_updates = 12000
  config.checkpoint_every = 1000
  config.optimizer.learning_rate = 1e-3
  config.data.max_caption_tokens = 10
  config.negatives.unit = 'relation'
  config.negatives.num_copies = 1
  config.losses.mlm = 5.0
  return config
