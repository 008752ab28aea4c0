"""Tests of the settings: freezing, flattening, what is refused."""

import dataclasses
import json

import pytest

from tagsdc_jax import settings


def _with(**overrides):
  """Returns the default config with dotted keys changed ("__" = ".")."""
  config = settings.default_config()
  config.update_from_flattened_dict(
    {key.replace('__', '.'): value for key, value in overrides.items()}
  )
  return config


def test_defaults_freeze_to_defaults():
  assert settings.from_config(settings.default_config()) == settings.Settings()


def test_settings_are_frozen():
  frozen = settings.Settings()
  with pytest.raises(dataclasses.FrozenInstanceError):
    frozen.optimizer.learning_rate = 1.0


def test_a_changed_value_arrives_and_lists_become_tuples():
  config = _with(
    optimizer__learning_rate=1e-3,
    keep_at_updates=(5, 7),
    data__train_text=('a', 'b'),
  )
  frozen = settings.from_config(config)
  assert frozen.optimizer.learning_rate == 1e-3
  assert frozen.keep_at_updates == (5, 7)
  assert frozen.data.train_text == ('a', 'b')
  # What was not touched is as before.
  assert frozen.negatives == settings.Negatives()


def test_an_unknown_key_is_refused_when_set():
  config = settings.default_config()
  with pytest.raises(AttributeError, match='learning_rat'):
    config.optimizer.learning_rat = 1.0


def test_flatten_and_back_through_json():
  config = _with(
    phase='dc',
    keep_at_updates=(5, 7),
    data__train_text=('a', 'b'),
    losses__margin=0.3,
  )
  frozen = settings.from_config(config)
  flat = settings.flatten(frozen)
  assert flat['phase'] == 'dc'
  assert flat['losses.margin'] == 0.3
  assert flat['data.train_text'] == ['a', 'b']
  assert settings.from_flat(json.loads(json.dumps(flat))) == frozen


def test_from_flat_refuses_an_unknown_key():
  flat = settings.flatten(settings.Settings()) | {'losses.magin': 0.2}
  with pytest.raises(ValueError, match='losses.magin|magin'):
    settings.from_flat(flat)


def test_free_to_change_names_settings():
  assert set(settings.FREE_TO_CHANGE) <= set(
    settings.flatten(settings.Settings())
  )


def test_free_to_change_leaves_out_what_decides_the_run():
  for key in (
    'seed',
    'num_updates',
    'batch.positives',
    'batch.micro_batches',
    'optimizer.learning_rate',
    'compute.dtype',
    'data.root',
  ):
    assert key not in settings.FREE_TO_CHANGE


@pytest.mark.parametrize(
  'overrides, message',
  [
    (
      {'phase': 'stage1'},
      "phase must be one of pretrain, tags, dc, got 'stage1'",
    ),
    (
      {'data__source': 'coco'},
      'data.source must be one of world, prepared, uniter_lmdb, auto, or '
      'module:function for a function of module.py beside your config file, '
      "got 'coco'",
    ),
    (
      {'negatives__sources': ()},
      'negatives.sources must name at least one source',
    ),
    (
      {'negatives__num_hard_by_source': (1, 2)},
      'negatives.num_hard_by_source must be empty or have one number per '
      'source, 3 for images, texts, mask_refill; got 2',
    ),
    (
      {'losses__weight_by_source': (1.0, -1.0, 1.0)},
      'losses.weight_by_source must be a number from 0 to 1e+06, or several',
    ),
    (
      {'compute__dtype': 'float16'},
      "compute.dtype must be one of float32, bfloat16, got 'float16'",
    ),
    (
      {'compute__attention': 'flash'},
      "compute.attention must be one of plain, xla, cudnn, got 'flash'",
    ),
    (
      {'compute__attention': 'cudnn'},
      'compute.attention=cudnn needs compute.dtype=bfloat16, got float32',
    ),
    (
      {'stop_seconds': -1.0},
      'stop_seconds must be a number from 0 to 1e+06, got -1.0',
    ),
    (
      {'hang_seconds': float('nan')},
      'hang_seconds must be a number from 0 to 1e+06, got nan',
    ),
    (
      {'profile': '12-10'},
      "must be updates such as 10-12, counted from 1, got '12-10'",
    ),
    ({'profile': '0'}, "counted from 1, got '0'"),
    (
      {'num_updates': 0},
      'num_updates must be a whole number from 1 to 16777216, got 0',
    ),
    (
      {'batch__positives': 0},
      'batch.positives must be a whole number from 1 to 65536, got 0',
    ),
    (
      {'batch__micro_batches': -8},
      'batch.micro_batches must be a whole number from 1 to 1048576, got -8',
    ),
    (
      {'model__hidden_size': 770},
      'model.hidden_size must be divisible by model.num_heads = 12, got 770',
    ),
    (
      {'negatives__temperature': 0.0},
      'negatives.temperature must be a number from 1e-06 to 1e+06, got 0.0',
    ),
    (
      {'negatives__temperature': float('nan')},
      'negatives.temperature must be a number from 1e-06 to 1e+06, got nan',
    ),
    (
      {'num_updates': 500},
      'optimizer.warmup_updates must be below num_updates = 500, got 500',
    ),
    (
      {'optimizer__warmup_updates': -1},
      'optimizer.warmup_updates must be a whole number from 0 to 16777216',
    ),
    (
      {'negatives__pool_size': 30},
      'negatives.pool_size must be at least negatives.num_hard = 31, got 30',
    ),
    (
      {'negatives__num_copies': 3, 'negatives__num_samples': 10},
      'negatives.num_samples must be at least negatives.num_hard = 31, got 30',
    ),
  ],
)
def test_a_value_out_of_range_is_named(overrides, message):
  with pytest.raises(ValueError) as caught:
    settings.from_config(_with(**overrides))
  assert message in str(caught.value)


def test_pretraining_needs_no_pool():
  config = _with(
    phase='pretrain',
    negatives__pool_size=0,
    negatives__num_copies=1,
    negatives__num_samples=1,
    batch__positives=8,
  )
  assert settings.from_config(config).phase == 'pretrain'


@pytest.mark.parametrize(
  'text, updates', [('', (0, 0)), ('7', (7, 7)), ('10-12', (10, 12))]
)
def test_profiled_updates(text, updates):
  assert settings.profiled_updates(text) == updates
