"""Data that does not fit the network."""

import dataclasses

import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.runs import setup
from tests import tiny


@pytest.fixture(name='data', scope='module')
def _data(world_dir):
  return tiny.open_train(world_dir)[0]


def _model(data, **changes):
  return dataclasses.replace(
    settings.Model(
      vocab_size=data.vocabulary.size,
      feature_size=data.feature_size,
      max_positions=32,
    ),
    **changes,
  )


def test_sizes_are_filled_in(data):
  filled = setup.with_data_sizes(settings.Settings(), data).model
  assert filled.vocab_size == data.vocabulary.size
  assert filled.feature_size == data.feature_size
  setup.check_data(dataclasses.replace(filled, max_positions=32), data)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'feature_size': 9}, 'numbers per region, but the network expects 9 '),
    ({'vocab_size': 9}, r'vocabulary, but the network expects 9 \(model.vocab'),
    ({'max_positions': 9}, 'but model.max_positions is 9'),
  ],
)
def test_what_does_not_fit_is_refused(data, changes, message):
  with pytest.raises(errors.UserError, match=message):
    setup.check_data(_model(data, **changes), data)


def test_a_kind_of_phrase_that_no_caption_has_is_refused(data, world_dir):
  shapes = tiny.open_train(world_dir)[1]
  config = settings.Settings(
    model=_model(data), negatives=settings.Negatives(unit='relation')
  )
  setup.make_task(config, data, shapes)
  without = dataclasses.replace(
    data,
    captions=[dataclasses.replace(c, phrase_kinds=()) for c in data.captions],
  )
  with pytest.raises(
    errors.UserError, match='needs captions with relation phrases, but world'
  ):
    setup.make_task(config, without, shapes)


def test_more_words_than_32_bits_count_are_refused(data, world_dir):
  shapes = tiny.open_train(world_dir)[1]
  assert shapes.max_tokens == 16

  def config(phase, positives):
    return settings.Settings(
      phase=phase,
      model=_model(data),
      batch=settings.Batch(positives=positives),
      negatives=settings.Negatives(num_copies=10_000, num_samples=1000),
    )

  # 11 x 10,000 x 1,000 x 18 = 1.98e9.
  setup.make_task(config('tags', 11), data, shapes)
  setup.make_task(config('pretrain', 12), data, shapes)
  with pytest.raises(
    errors.UserError,
    match='must be at most 119304647 with '
    'captions of up to 18 tokens, got 12 x 10000 x 1000',
  ):
    setup.make_task(config('tags', 12), data, shapes)
