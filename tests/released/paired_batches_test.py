"""Pairs of positives, each with what is no negative of the other's."""

import numpy as np

from tagsdc_jax.data import loader
from tagsdc_jax.released import paired_batches
from tests import tiny


def _sources(world_dir, seed=0):
  data, shapes = tiny.open_train(world_dir)
  arguments = (data, shapes, seed, 1, 6)
  return (
    data,
    loader.MicroBatches(*arguments),
    paired_batches.PairedMicroBatches(*arguments),
  )


def test_the_first_row_is_what_a_single_one_would_be(world_dir):
  _, single, paired = _sources(world_dir)
  for number in range(5):
    alone, both = single[number], paired[number]
    assert both.caption_numbers.shape == (2,)
    assert both.caption_numbers[0] == alone.caption_numbers[0]
    np.testing.assert_array_equal(
      both.pool_images.features, alone.pool_images.features
    )


def test_both_rows_are_shuffled_epochs_of_their_own(world_dir):
  data, _, paired = _sources(world_dir)
  rows = np.array(
    [paired.caption_numbers(i) for i in range(len(data.captions))]
  )
  for column in rows.T:
    assert sorted(column) == list(range(len(data.captions)))
  assert np.mean(rows[:, 0] == rows[:, 1]) < 0.1


def test_pools_leave_out_what_belongs_to_their_row(world_dir):
  data, _, paired = _sources(world_dir)
  own_image_met = 0
  for number in range(200):
    first, second = (
      data.captions[c].image for c in paired.caption_numbers(number)
    )
    images, texts = paired.pool(number, [first, second])
    assert len(images) == len(texts) == 6
    assert first not in images
    assert not set(texts) & set(data.captions_of_image[second])
    own_image_met += second in images
  # The other row's image may be drawn.
  assert own_image_met > 0


def test_shapes_count_both_rows(world_dir):
  _, _, paired = _sources(world_dir)
  shapes = loader.update_shapes(paired, 4, 2)
  assert shapes.texts.token_ids.shape[:3] == (2, 2, 2)
  batch = next(
    loader.iterate_updates(
      paired,
      micro_batches=4,
      first_update=0,
      num_updates=1,
      num_devices=2,
      process=0,
      num_processes=1,
      num_threads=1,
      num_prefetched=1,
    )
  )
  assert batch.texts.token_ids.shape == shapes.texts.token_ids.shape
