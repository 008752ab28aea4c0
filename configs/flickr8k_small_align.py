r"""First step of pretraining on a few thousand photos: words and regions alone.

Only the embeddings are trained, by alignment; it costs next to nothing (80
seconds on one CPU core), and afterwards matching is learned from a fifth of the
captions. All steps, each from the one before:

  tagsdc train --phases flickr8k_small --run-dir runs/flickr \
      --config.data.root=DATA

The data are 2,400 photos of Flickr8k for training and 300 each for validation
and test, in UNITER's folders, or prepared: DATA is their folder.
"""

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
