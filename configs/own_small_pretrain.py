r"""Pretraining of a small model on own data, from nothing: 60 to 10,000 photos.

Masked language modeling and image-text matching, for features that no
pretrained UNITER fits. All three phases, each from the one before:

  tagsdc train --phases own_small --run-dir runs/mine --config.data.root=DATA

or one by one:

  tagsdc train --config own_small_pretrain --run-dir runs/pretrain \
      --config.data.root=DATA
  tagsdc train --config own_small_tags --run-dir runs/tags \
      --config.data.root=DATA --config.init_from=runs/pretrain
  tagsdc train --config own_small_dc --run-dir runs/dc \
      --config.data.root=DATA --config.init_from=runs/tags

Vocabulary and feature size are read from the data. LMDB folders in UNITER's
format have the names below; for others pass
--config.data.{train,validation,test}_{text,images}=FOLDER, relative to the
root; several training folders as A.db,B.db, names that contain a comma in
quotes: "'A,1.db',B.db". --config.data.vocabulary=vocab.txt maps tokens to
words.

Stage 1 and 2 need 19 training pictures. The numbers of updates are for 60 to a
few hundred pictures on two CPU cores, in minutes. For thousands use a GPU and
more updates, --config.num_updates=5000 for example, which holds for all phases
of --phases.
"""

import ml_collections

from tagsdc_jax import settings


def get_config() -> ml_collections.ConfigDict:
  """Returns MLM and image-text matching from random weights."""
  config = settings.default_config()
  config.phase = 'pretrain'
  config.num_updates = 200
  config.checkpoint_every = 100
  config.eval_every = 100
  config.num_devices = 1  # Too little work to divide.
  config.data.source = 'auto'
  config.data.train_text = ('txt_db/train.db',)
  config.data.train_images = ('img_db',)
  config.data.validation_text = 'txt_db/val.db'
  config.data.validation_images = 'img_db'
  config.data.test_text = 'txt_db/test.db'
  config.data.test_images = 'img_db'
  config.model.num_layers = 3
  config.model.hidden_size = 128
  config.model.num_heads = 4
  config.model.intermediate_size = 512
  config.model.initializer_range = 0.09  # 0.02 learns slowly at this size.
  config.batch.positives = 16
  config.batch.micro_batches = 1
  config.negatives.num_copies = 1
  config.negatives.num_in_batch = 1
  config.losses.mlm = 1.0
  config.optimizer.learning_rate = 5e-4
  config.optimizer.warmup_updates = 50
  config.compute.score_tokens = 2048
  config.compute.gradient_tokens = 1024
  config.compute.num_score_buckets = 2
  config.compute.num_gradient_buckets = 1  # Compiles sooner.
  config.evaluation.num_buckets = 2
  config.evaluation.validation_images = 50
  return config
