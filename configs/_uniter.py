"""Network sizes and data paths shared by the runs on UNITER's downloads.

The folders are those that UNITER's download script creates under one root:
img_db as downloaded, txt_db from the TAGS release, whose captions come with
scene graphs. Pass the root as --config.data.root=FOLDER.
"""

import ml_collections

from tagsdc_jax import settings

# The release uses 8 devices; its batch sizes are per device.
NUM_DEVICES = 8


def base_config() -> ml_collections.ConfigDict:
  """Returns the defaults, whose sizes are UNITER-base's, for LMDB data."""
  config = settings.default_config()
  config.data.source = 'auto'
  # The published numbers start from pretrained weights: docs/release.md.
  config.init_from = settings.REQUIRED
  # With pools of 399 images, the inputs of a micro-batch take 0.16 GB.
  config.compute.micro_batches_at_once = 4
  return config


def large_config() -> ml_collections.ConfigDict:
  """Returns the same with the sizes of UNITER-large."""
  config = base_config()
  config.model.num_layers = 24
  config.model.hidden_size = 1024
  config.model.num_heads = 16
  config.model.intermediate_size = 4096
  return config


def set_flickr30k(config: ml_collections.ConfigDict) -> None:
  """Sets the folders of Flickr30K."""
  config.data.train_text = ('txt_db/itm_flickr30k_train.db',)
  config.data.train_images = ('img_db/flickr30k',)
  config.data.validation_text = 'txt_db/itm_flickr30k_val.db'
  config.data.validation_images = 'img_db/flickr30k'
  config.data.test_text = 'txt_db/itm_flickr30k_test.db'
  config.data.test_images = 'img_db/flickr30k'


def set_coco(config: ml_collections.ConfigDict) -> None:
  """Sets the folders of COCO, Karpathy's split; trains on train + restval."""
  config.data.train_text = (
    'txt_db/itm_coco_train.db',
    'txt_db/itm_coco_restval.db',
  )
  config.data.train_images = ('img_db/coco_train2014', 'img_db/coco_val2014')
  config.data.validation_text = 'txt_db/itm_coco_val.db'
  config.data.validation_images = 'img_db/coco_val2014'
  config.data.test_text = 'txt_db/itm_coco_test.db'
  config.data.test_images = 'img_db/coco_val2014'
