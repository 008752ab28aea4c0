import itertools
import types

import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.evaluation import tiles


def _data(num_captions, num_images, seed=0):
  rng = np.random.default_rng(seed)
  return types.SimpleNamespace(
    captions=[
      types.SimpleNamespace(token_ids=range(n))
      for n in rng.integers(3, 20, num_captions)
    ],
    num_regions=rng.integers(2, 30, num_images),
  )


@pytest.mark.parametrize(
  'tile_texts, tile_images, num_devices',
  [(5, 3, 1), (1, 1, 2), (40, 9, 1), (6, 2, 4)],
)
def test_plan_covers_every_pair(tile_texts, tile_images, num_devices):
  data = _data(17, 7)
  plan = tiles.make_plan(
    data,
    settings.Evaluation(
      tile_texts=tile_texts, num_buckets=3, tile_images=tile_images
    ),
    num_devices,
  )
  assert set(plan.texts.ravel()) == set(range(17))
  assert set(plan.images.ravel()) == set(range(7))
  assert plan.texts.shape[1] <= tile_texts
  assert plan.images.shape[1] == num_devices
  assert plan.images.shape[2] <= tile_images
  assert len(plan.buckets) <= 3
  lengths = tiles.text_lengths(data)
  computed = 0
  for text_group, part in itertools.product(
    range(len(plan.texts)), range(len(plan.images))
  ):
    texts, images = plan.texts[text_group], plan.images[part]
    longest = lengths[texts].max() + data.num_regions[images].max()
    assert longest == plan.text_lengths[text_group] + plan.image_lengths[part]
    length = plan.bucket_of(longest)
    assert length == min(w for w in plan.buckets if w >= longest)
    computed += length * texts.size * images.size
  real = sum(t + r for t in lengths for r in data.num_regions)
  assert plan.padding == pytest.approx(1 - real / computed)


def _sizes(num_images, most, num_devices=1):
  return tiles.make_plan(
    _data(5, num_images), settings.Evaluation(tile_images=most), num_devices
  ).images.shape


def test_tiles_fill_up_little():
  assert _sizes(60, 8) == (10, 1, 6)  # Eights would take 64.
  assert _sizes(50, 16, 2) == (2, 2, 13)
  assert _sizes(64, 8) == (8, 1, 8)
  assert _sizes(7, 16) == (1, 1, 7) and _sizes(7, 16, 8) == (1, 8, 1)
  # One in a hundred is worth a larger tile.
  assert _sizes(799, 8) == (100, 1, 8)
  plan = tiles.make_plan(_data(5, 50), settings.Evaluation(tile_images=16), 2)
  numbers, counts = np.unique(plan.images, return_counts=True)
  assert counts.sum() == 52 and counts.max() == 3
  # What fills up is the shortest.
  regions = _data(5, 50).num_regions
  assert regions[numbers[np.argmax(counts)]] == regions.min()


def test_few_buckets_where_few_do():
  # 10, 40: every length its own. 39 in place of 40 once saves next to nothing.
  assert tiles.few_buckets(np.array([10, 10, 40, 40]), 9) == (10, 40)
  assert tiles.few_buckets(np.array([10, 39, 40, 40]), 9) == (10, 40)
  assert tiles.few_buckets(np.array([10, 25, 40, 40]), 9) == (10, 25, 40)


@pytest.mark.parametrize('count', [0, 1, 2, 5, 40])
def test_spread(count):
  order = tiles.spread(count)
  assert sorted(order) == list(range(count))
  assert order[:1] == [count - 1][:count]


def test_any_stretch_of_a_spread_is_like_the_whole():
  cost = np.arange(100)[tiles.spread(100)]
  for start in range(0, 100, 10):
    assert abs(np.mean(cost[start : start + 10]) - 49.5) < 8
