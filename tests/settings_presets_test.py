"""Presets: plain dictionaries, and what they need."""

import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.commands import configs


def test_presets_name_every_quirk():
  quirks = {
    key
    for key in settings.flatten(settings.Settings())
    if key.startswith('quirks.')
  }
  for preset in settings.PRESETS.values():
    assert quirks <= preset.keys()


def test_the_default_is_the_corrected_preset():
  flat = settings.flatten(settings.Settings())
  for key, value in settings.PRESETS['corrected'].items():
    assert flat[key] == value, key


def test_as_released_on_the_command_line():
  plain = configs.load('world_tags', [])
  released = configs.load('world_tags', ['--config.preset=as_released'])
  assert all(
    settings.flatten(released)[key] == value
    for key, value in settings.PRESETS['as_released'].items()
  )
  assert released.preset == 'as_released'
  # The step takes one positive at a time; an update keeps its size.
  assert released.batch.positives == 1
  assert released.batch.micro_batches == (
    plain.batch.positives * plain.batch.micro_batches
  )


def test_overrides_come_after_the_preset():
  config = configs.load(
    'world_tags',
    [
      '--config.quirks.penalties=false',
      '--config.batch.micro_batches=4',
      '--config.preset=as_released',
    ],
  )
  assert not config.quirks.penalties and config.quirks.fill_up
  assert config.batch.micro_batches == 4


@pytest.mark.parametrize(
  'overrides, message',
  [
    (['--config.preset=as_relased'], 'preset must be one of corrected,'),
    (
      ['--config.quirks.penalties=true'],
      'quirks.penalties needs quirks.plain_step=true',
    ),
    (
      ['--config.quirks.plain_step=true'],
      'batch.positives to 1 and batch.micro_batches to 32',
    ),
    (
      ['--config.preset=as_released', '--config.quirks.plain_step=false'],
      'needs quirks.plain_step=true',
    ),
    (
      ['--config.preset=as_released', '--config.negatives.refill_rounds=2'],
      'quirks.plain_step needs negatives.refill_rounds = 1, got 2',
    ),
    (
      ['--config.negatives.exclude=all'],
      'negatives.exclude must be one of caption, image, words',
    ),
  ],
)
def test_what_cannot_be(overrides, message):
  with pytest.raises(errors.UserError, match=message):
    configs.load('world_tags', overrides)


def test_a_file_that_only_names_the_preset():
  config = settings.default_config()
  config.preset = 'as_released'
  with pytest.raises(ValueError, match='apply_preset'):
    settings.from_config(config)
