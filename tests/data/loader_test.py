"""Micro-batches: pure functions of their number."""

import dataclasses

import jax
import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.data import loader
from tests import tiny


@pytest.fixture(scope='module')
def source(world_dir):
  return tiny.make_source(tiny.make_settings('tags', world_dir))


def _equal(a, b):
  return all(
    np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_same_number_same_batch(source):
  assert _equal(source[7], source[7])
  assert not _equal(source[7], source[8])
  other = dataclasses.replace(source, seed=1)
  assert not _equal(source[7], other[7])


def test_every_epoch_takes_every_caption_once(source):
  count = len(source.data.captions)
  assert count % 5 == 0
  by_five = dataclasses.replace(source, positives=5)
  epochs = [
    [
      n
      for i in range(count // 5)
      for n in by_five.caption_numbers(epoch * count // 5 + i)
    ]
    for epoch in range(2)
  ]
  for epoch in epochs:
    assert sorted(epoch) == list(range(count))
  assert epochs[0] != epochs[1]


def test_pool_holds_no_image_of_the_positives_and_no_row_twice(source):
  own_captions = source.data.captions_of_image
  for number in range(20):
    images = [
      source.data.captions[i].image for i in source.caption_numbers(number)
    ]
    pool_images, pool_texts = source.pool(number, images)
    assert len(set(pool_images)) == len(pool_images) == source.pool_size
    assert len(set(pool_texts)) == len(pool_texts) == source.pool_size
    assert not set(pool_images) & set(images)
    assert not set(pool_texts) & {c for i in images for c in own_captions[i]}


def test_pool_is_uniform_over_the_other_images(source):
  counts = np.zeros(len(source.data.image_ids))
  for number in range(3000):
    counts[source.pool(number, [3])[0]] += 1
  assert counts[3] == 0
  others = np.delete(counts, 3)
  expected = 3000 * source.pool_size / len(others)
  # Six standard deviations of a binomial count.
  assert np.all(abs(others - expected) < 6 * expected**0.5)


def test_a_pool_as_large_as_the_data_allows(source):
  most = len(source.data.image_ids) - 1
  largest = dataclasses.replace(source, positives=1, pool_size=most)
  batch = largest[0]
  assert batch.pool_texts.num_tokens.shape == (most,)
  with pytest.raises(errors.UserError, match='pool_size'):
    dataclasses.replace(largest, pool_size=most + 1)


def test_no_pool_asks_for_nothing(source):
  wide = dataclasses.replace(source, positives=100, pool_size=0)
  batch = wide[0]
  assert batch.pool_images.features.shape[0] == 0
  assert batch.texts.num_tokens.shape == (100,)


def test_contents_are_those_of_the_data(source):
  batch, data = source[2], source.data
  for row, number in enumerate(batch.caption_numbers):
    caption = data.captions[number]
    length = len(caption.token_ids)
    ids = batch.texts.token_ids[row]
    assert batch.texts.num_tokens[row] == length + 2
    np.testing.assert_array_equal(ids[1 : length + 1], caption.token_ids)
    assert ids[0] == data.vocabulary.cls
    assert ids[length + 1] == data.vocabulary.sep
    assert np.all(ids[length + 2 :] == data.vocabulary.pad)
    regions = data.read_regions(caption.image)
    count = batch.images.num_regions[row]
    np.testing.assert_array_equal(
      batch.images.features[row, :count], regions.features
    )
    assert not np.any(batch.images.features[row, count:])
    assert any(np.array_equal(ids, r) for r in batch.references[row])
    listed = np.nonzero(batch.phrase_counts[row].sum(0))[0]
    assert set(listed) == {p + 1 for phrase in caption.phrases for p in phrase}


def _updates(source, **changes):
  arguments = {
    'micro_batches': 4,
    'first_update': 0,
    'num_updates': 3,
    'num_devices': 1,
    'process': 0,
    'num_processes': 1,
    'num_threads': 2,
    'num_prefetched': 2,
  } | changes
  return list(loader.iterate_updates(source, **arguments))


def test_devices_and_processes_only_divide_the_micro_batches(source):
  whole = _updates(source)
  halves = [
    _updates(source, num_devices=2, num_processes=2, process=p)
    for p in range(2)
  ]
  for update, batch in enumerate(whole):
    assert batch.number.shape == (1, 4)
    np.testing.assert_array_equal(batch.number[0], 4 * update + np.arange(4))
    joined = jax.tree.map(
      lambda a, b: np.concatenate([a, b]), halves[0][update], halves[1][update]
    )
    flat = jax.tree.map(lambda x: x.reshape(1, 4, *x.shape[2:]), joined)
    assert _equal(batch, flat)


def test_slices_only_divide_the_micro_batches_of_each_device(source):
  whole = _updates(source, num_devices=2, num_updates=2)
  slices = _updates(source, num_devices=2, num_updates=2, num_slices=2)
  assert [x.number.tolist() for x in slices] == [
    [[0], [2]],
    [[1], [3]],
    [[4], [6]],
    [[5], [7]],
  ]
  for update, batch in enumerate(whole):
    assert _equal(
      batch,
      jax.tree.map(
        lambda a, b: np.concatenate([a, b], axis=1),
        *slices[2 * update : 2 * update + 2],
      ),
    )


@pytest.mark.parametrize(
  'at_once, slices', [(0, 1), (1, 4), (2, 2), (4, 1), (9, 1)]
)
def test_how_many_slices_there_are(at_once, slices):
  assert loader.count_slices(8, 2, at_once) == slices


def test_slices_must_divide_the_micro_batches():
  with pytest.raises(
    errors.UserError,
    match='at_once must divide the 4 micro-batches of each device, got 3',
  ):
    loader.count_slices(8, 2, 3)


def test_continuing_repeats_the_same_updates(source):
  whole = _updates(source)
  rest = _updates(source, first_update=2)
  assert len(rest) == 1 and _equal(rest[0], whole[2])


@pytest.mark.parametrize('pool_size', [0, 5])
def test_shapes_are_known_before_anything_is_assembled(source, pool_size):
  source = dataclasses.replace(source, pool_size=pool_size)
  batch = _updates(source, num_devices=2)[0]
  shapes = loader.update_shapes(source, micro_batches=4, num_devices=2)
  assert jax.tree.structure(batch) == jax.tree.structure(shapes)
  for actual, told in zip(jax.tree.leaves(batch), jax.tree.leaves(shapes)):
    assert (actual.shape, actual.dtype) == (told.shape, told.dtype)


def test_devices_must_divide_the_micro_batches(source):
  with pytest.raises(errors.UserError, match='divisible by the 3 devices'):
    _updates(source, num_devices=3)
  with pytest.raises(errors.UserError, match='divisible by the 3 devices'):
    loader.update_shapes(source, micro_batches=4, num_devices=3)


def test_a_record_that_cannot_be_read_is_told_when_it_is_needed(source):
  class Damaged(loader.MicroBatches):
    def __getitem__(self, number):
      if number == 9:
        raise errors.UserError('record of image 7 must be readable')
      return super().__getitem__(number)

  fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
  updates = loader.iterate_updates(
    Damaged(**fields),
    micro_batches=4,
    first_update=0,
    num_updates=5,
    num_devices=2,
    process=0,
    num_processes=1,
    num_threads=2,
    num_prefetched=2,
  )
  for number in (0, 4):
    assert next(updates).number.tolist() == [
      [number, number + 1],
      [number + 2, number + 3],
    ]
  with pytest.raises(errors.UserError, match='record of image 7'):
    next(updates)
