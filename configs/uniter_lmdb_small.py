r"""Stage 1 (TAGS) of a small model on any data in UNITER's LMDB format.

Vocabulary and feature size are read from the data. To run the three phases,
with text and image folders named as below under one root:

  tagsdc train --config uniter_lmdb_small_pretrain --run-dir runs/pretrain \
      --config.data.root=DATA
  tagsdc train --config uniter_lmdb_small --run-dir runs/tags \
      --config.data.root=DATA --config.init_from=runs/pretrain
  tagsdc train --config uniter_lmdb_small_dc --run-dir runs/dc \
      --config.data.root=DATA --config.init_from=runs/tags

For other folder names pass --config.data.{train,validation,test}_{text,images}=
FOLDER, relative to the root; several training folders as A.db,B.db, names that
contain a comma in quotes: "'A,1.db',B.db".
--config.data.vocabulary=vocab.txt maps tokens to words.
The phase is also a setting (--config.phase=pretrain, tags or dc), but each file
sets the values that go with it: batch, rates, numbers of negatives.
Hardware: one GPU, or a CPU with patience. Not run yet.
"""

import ml_collections

from tagsdc_jax import settings


def get_config() -> ml_collections.ConfigDict:
  """Returns stage 1; pass --config.init_from=RUN_DIR of the pretraining."""
  config = settings.default_config()
  config.phase = 'tags'
  config.num_updates = 1000
  config.checkpoint_every = 100
  config.eval_every = 100
  config.data.source = 'auto'
  config.data.train_text = ('txt_db/train.db',)
  config.data.train_images = ('img_db',)
  config.data.validation_text = 'txt_db/val.db'
  config.data.validation_images = 'img_db'
  config.data.test_text = 'txt_db/test.db'
  config.data.test_images = 'img_db'
  config.model.num_layers = 4
  config.model.hidden_size = 256
  config.model.num_heads = 4
  config.model.intermediate_size = 1024
  config.model.initializer_range = 0.06  # 0.02 learns slowly at this size.
  config.batch.positives = 1
  config.batch.micro_batches = 16
  config.negatives.pool_size = 399
  config.negatives.num_hard = 31
  config.negatives.num_copies = 20
  config.negatives.num_samples = 20
  # Just enough to keep two cores busy; a positive has about 900 candidates.
  config.compute.score_tokens = 704
  config.compute.gradient_tokens = 576
  config.optimizer.learning_rate = 1e-4
  config.optimizer.warmup_updates = 100
  return config
