"""Pretraining on the embedded world: a small version of UNITER's recipe.

launch/pretrain_world.sh trains world_relations, and from it the weights that
come with the package: ten and two minutes on two CPU cores. Three layers of 64
with eight heads are enough to learn relations; smaller ones were not tried.

Test split, 200 pictures in pairs that differ in one detail: mean R@1 70.5
(chance 0.5); foils 81.1 (chance 50): color 95.9, shape 95.8, size 89.5,
relation 64.7, swap 59.9. After world_relations alone, relations are known
almost perfectly; learning all other words displaces much of it, which leaves a
matcher that knows relations in part.
"""

import ml_collections

from tagsdc_jax import settings


def get_config() -> ml_collections.ConfigDict:
  """Returns MLM and image-text matching.

  Pass --config.init_from=RUN_DIR of world_relations; from scratch, relations
  are not learned.
  """
  config = settings.default_config()
  config.phase = 'pretrain'
  config.num_updates = 600
  config.checkpoint_every = 300
  config.eval_every = 0  # Only at the end, so the last checkpoint is the best.
  config.log_every = 20
  config.data.max_caption_tokens = 20
  config.model.num_layers = 3
  config.model.hidden_size = 64
  config.model.num_heads = 8
  config.model.intermediate_size = 256
  # With BERT's 0.02 such a small network stays on a plateau for a long time.
  config.model.initializer_range = 0.12
  config.model.max_positions = 32
  config.model.dropout_rate = 0.0
  config.batch.positives = 32
  config.batch.micro_batches = 1
  # Masked words teach more per token than matching against random pictures.
  config.negatives.num_copies = 3
  config.negatives.num_in_batch = 1
  config.losses.mlm = 3.0
  config.optimizer.learning_rate = 5e-4
  config.optimizer.warmup_updates = 100
  config.compute.num_score_buckets = 6  # Lengths differ little here.
  config.evaluation.validation_images = 50
  return config
