"""Before flickr8k_small_pretrain: words and regions get one space."""

import ml_collections

from tagsdc_jax.configs import own_small_pretrain


def get_config() -> ml_collections.ConfigDict:
  """Returns alignment alone, from random weights."""
  config = own_small_pretrain.get_config()
  texts, images = 'txt_db/itm_flickr8k_mini', 'img_db/flickr8k_mini'
  config.data.train_text = (f'{texts}_train.db',)
  config.data.train_images = (images,)
  config.data.validation_text = f'{texts}_val.db'
  config.data.validation_images = images
  config.data.test_text = f'{texts}_test.db'
  config.data.test_images = images
  config.num_updates = 800
  config.checkpoint_every = 400
  config.eval_every = 0
  config.log_every = 50
  config.model.num_layers = 2
  config.model.dropout_rate = 0.3
  config.batch.positives = 128
  config.negatives.num_in_batch = 0
  config.losses.mlm = 0.0
  config.losses.alignment = 1.0
  config.optimizer.learning_rate = 2e-3
  config.optimizer.warmup_updates = 100
  config.optimizer.weight_decay = 0.1
  config.evaluation.validation_images = 100
  return config
