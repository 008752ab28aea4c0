"""Tests of the config files: they load, and hold the release's numbers."""

import importlib

import pytest

from tagsdc_jax import settings
from tagsdc_jax.commands import configs

# The release's run scripts, as one row per run: phase, learning rate, T,
# lambda_syn, lambda_mlm, lambda_disc = lambda_corr, h, batch per device,
# updates, warm-up.
RELEASE = {
  'flickr30k_base_tags': (
    'tags',
    5e-5,
    2.0,
    5e-4,
    0.05,
    None,
    31,
    16,
    5000,
    500,
  ),
  'coco_base_tags': ('tags', 5e-5, 1.5, 5e-5, 0.01, None, 31, 32, 5000, 500),
  'flickr30k_large_tags': (
    'tags',
    5e-5,
    2.0,
    1e-3,
    0.05,
    None,
    23,
    32,
    5000,
    500,
  ),
  'coco_large_tags': ('tags', 4e-5, 1.5, 1e-3, 0.05, None, 23, 32, 5000, 500),
  'flickr30k_base_dc': ('dc', 1e-5, 1.5, 5e-4, 0.1, 5e-4, 31, 32, 5000, 500),
  'coco_base_dc': ('dc', 1e-5, 1.5, 1e-4, 0.05, 5e-4, 31, 32, 1500, 150),
  'flickr30k_large_dc': ('dc', 1e-5, 1.5, 5e-4, 0.05, 5e-4, 23, 32, 1500, 150),
  'coco_large_dc': ('dc', 1e-5, 1.5, 1e-4, 0.05, 5e-4, 31, 32, 5000, 500),
}


@pytest.mark.parametrize('name', configs.names())
def test_every_config_loads_and_has_a_docstring(name):
  assert isinstance(configs.load(name, ()), settings.Settings)
  docstring = importlib.import_module(f'tagsdc_jax.configs.{name}').__doc__
  assert docstring and len(docstring.splitlines()) > 2


def test_names_are_complete_and_leave_out_helpers():
  assert configs.names() == sorted(
    [
      *RELEASE,
      'world_relations',
      'world_pretrain',
      'world_hard_only',
      'world_tags',
      'world_dc',
      'own_small_pretrain',
      'own_small_tags',
      'own_small_dc',
      'flickr8k_small_align',
      'flickr8k_small_pretrain',
      'flickr8k_small_tags',
      'flickr8k_small_dc',
    ]
  )


@pytest.mark.parametrize('name', RELEASE)
def test_the_numbers_of_the_release(name):
  (
    phase,
    rate,
    temperature,
    synthetic,
    mlm,
    words,
    num_hard,
    batch,
    updates,
    warmup,
  ) = RELEASE[name]
  config = configs.load(name, ())
  assert config.phase == phase
  assert config.optimizer.learning_rate == rate
  assert config.negatives.temperature == temperature
  assert config.losses.synthetic == synthetic
  assert config.losses.mlm == mlm
  assert config.negatives.num_hard == num_hard
  assert config.num_updates == updates
  assert config.optimizer.warmup_updates == warmup
  # Per device, on 8 devices, one positive per micro-batch.
  assert config.batch.positives == 1
  assert config.batch.micro_batches == 8 * batch
  if phase == 'dc':
    assert config.losses.discrimination == words
    assert config.losses.correction == words
  else:
    # Stage 2 continues from here.
    assert 2000 in config.keep_at_updates


@pytest.mark.parametrize('name', RELEASE)
def test_what_all_runs_of_the_release_share(name):
  config = configs.load(name, ())
  assert config.negatives.num_copies == 20
  assert config.negatives.num_samples == 20
  assert config.negatives.pool_size == 399
  assert config.negatives.mask_rate == 0.15
  assert config.losses.margin == 0.2
  assert (config.losses.replaced_weight, config.losses.kept_weight) == (
    1.0,
    0.11,
  )
  assert config.model.dropout_rate == 0.1
  assert config.data.max_caption_tokens == 60
  assert (
    config.data.region_confidence,
    config.data.min_regions,
    config.data.max_regions,
  ) == (0.2, 10, 100)
  optimizer = config.optimizer
  assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (
    0.9,
    0.98,
    1e-6,
  )
  assert (optimizer.weight_decay, optimizer.clip_norm) == (0.01, 2.0)


@pytest.mark.parametrize('name', RELEASE)
def test_sizes_and_folders(name):
  config = configs.load(name, ())
  data, size, _ = name.split('_')
  model = config.model
  sizes = (
    model.num_layers,
    model.hidden_size,
    model.num_heads,
    model.intermediate_size,
  )
  assert (
    sizes == {'base': (12, 768, 12, 3072), 'large': (24, 1024, 16, 4096)}[size]
  )
  assert (model.max_positions, model.num_token_types) == (512, 2)
  folders = config.data
  assert folders.source == 'auto' and folders.root == ''
  if data == 'flickr30k':
    assert folders.train_text == ('txt_db/itm_flickr30k_train.db',)
    images = {
      folders.train_images[0],
      folders.validation_images,
      folders.test_images,
    }
    assert images == {'img_db/flickr30k'}
  else:
    assert list(zip(folders.train_text, folders.train_images, strict=True)) == [
      ('txt_db/itm_coco_train.db', 'img_db/coco_train2014'),
      ('txt_db/itm_coco_restval.db', 'img_db/coco_val2014'),
    ]
    assert folders.validation_images == 'img_db/coco_val2014'
    assert folders.test_images == 'img_db/coco_val2014'
  assert folders.validation_text == f'txt_db/itm_{data}_val.db'
  assert folders.test_text == f'txt_db/itm_{data}_test.db'


@pytest.mark.parametrize(
  'family',
  [
    ('world_pretrain', 'world_tags', 'world_dc'),
    ('own_small_pretrain', 'own_small_tags', 'own_small_dc'),
    *(
      (f'{data}_{size}_tags', f'{data}_{size}_dc')
      for data in ('flickr30k', 'coco')
      for size in ('base', 'large')
    ),
  ],
)
def test_phases_hand_on_one_model_and_one_data_set(family):
  loaded = [configs.load(name, ()) for name in family]
  assert [c.phase for c in loaded] == ['pretrain', 'tags', 'dc'][-len(family) :]
  assert len({c.model for c in loaded}) == 1
  assert len({c.data for c in loaded}) == 1


@pytest.mark.parametrize('phase', settings.PHASES)
def test_the_small_model_suits_48_pictures_without_tuning(phase):
  config = configs.load(f'own_small_{phase}', ())
  pool = 0 if phase == 'pretrain' else config.negatives.pool_size
  # A set of 60 whose captions are one per picture, less validation and test.
  assert config.batch.positives + pool <= 48
  # Taken from the data.
  assert (config.model.vocab_size, config.model.feature_size) == (0, 0)
  assert config.num_devices == 1


_STAGES = ('tags', 'dc')


@pytest.mark.parametrize('name', configs.names())
def test_who_needs_a_start(name):
  small = {f'{of}_small_{p}' for of in ('own', 'flickr8k') for p in _STAGES}
  needs = {*RELEASE, *small}
  found = configs.load(name, ()).init_from == settings.REQUIRED
  assert found == (name in needs)
