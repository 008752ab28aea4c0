"""Recorded orders and maps, by hand."""

import numpy as np

from tagsdc_jax.comparison import metrics


def test_owner_comes_from_both_maps():
  maps = {
    'txt_ids': ['c', 'a', 'b'],
    'img_ids': ['y', 'x'],
    'txt2img': {'a': 'x', 'b': 'y', 'c': 'x'},
    'img2txts': {'x': ['a', 'c'], 'y': ['b']},
  }
  np.testing.assert_array_equal(metrics._owner_of(maps), [1, 1, 0])
  maps['txt2img']['b'] = 'x'  # Where they disagree there is no image.
  np.testing.assert_array_equal(metrics._owner_of(maps), [1, 1, -1])


def test_favored_wins_its_ties_and_no_more():
  scores = np.array([[2, 2, 1], [3, 2, 2]], np.float32)
  owner = np.array([0, 2])
  captions = metrics.captions_of(owner, 3)
  assert captions == [(0,), (), (1,)]
  np.testing.assert_array_equal(
    metrics.ranks(scores, owner, captions)[0], [1, 2]
  )
  best = metrics.favored(scores, owner)
  np.testing.assert_array_equal(metrics.ranks(best, owner, captions)[0], [0, 1])
  np.testing.assert_array_equal(scores[0], [2, 2, 1])


def test_order_of_a_recorded_result():
  images = {'r1': 10.0, 'r5': 20.0, 'r10': 60.0}
  texts = {'r1': 40.0, 'r5': 50.0, 'r10': 90.0}
  np.testing.assert_allclose(
    metrics.as_recorded(images, texts),
    [0.4, 0.5, 0.9, 0.6, 0.1, 0.2, 0.6, 0.3, 0.45],
  )


def test_ranks_of_a_recorded_order():
  top_images = np.array([[1, 0], [2, 0], [0, 1]])
  top_texts = np.array([[2, 0], [1, 2], [0, 1]])
  images, texts = metrics._ranks_of(top_images, top_texts, np.array([0, 0, 1]))
  # Caption 0's image is second, caption 1's too, caption 2's as well. Image 0
  # has caption 0 second, image 1 caption 2 second; image 2 has no caption.
  np.testing.assert_array_equal(images, [1, 1, 1])
  np.testing.assert_array_equal(texts, [1, 1])
