"""Tests of pictures, boxes and region features."""

import numpy as np
from PIL import Image

from tagsdc_jax.data.world import pictures
from tagsdc_jax.data.world.scenes import (
  COLORS,
  SHAPES,
  SIZES,
  Object,
  Scene,
  example_rng,
  sample_scene,
)


def make(number):
  rng = example_rng(0, 'train', number)
  scene = sample_scene(rng)
  return scene, pictures.render(scene, rng), rng


def test_render_is_repeatable_and_noisy():
  scene, image, _ = make(0)
  assert image.size == (96, 96) and image.mode == 'RGB'
  assert make(0)[1].tobytes() == image.tobytes()
  other = pictures.render(scene, np.random.default_rng(1))
  assert other.tobytes() != image.tobytes()


def test_a_square_is_drawn_where_the_scene_says():
  item = Object('square', 'green', 'large', 30.0, 60.0, 13.0)
  image = pictures.render(Scene((item,)), np.random.default_rng(0))
  pixels = np.asarray(image, np.float32)
  # 0.88 * 13 = 11.44 pixels to each side of the center.
  assert np.allclose(pictures.extent(item), (18.56, 48.56, 41.44, 71.44))
  is_green = pixels[..., 1] > 120
  assert is_green[50:70, 20:40].all()
  assert not is_green[:48].any() and not is_green[73:].any()
  assert not is_green[:, :18].any() and not is_green[:, 43:].any()


def test_proposals_hold_every_object_and_some_background():
  counts = set()
  for number in range(100):
    scene, _, rng = make(number)
    boxes = pictures.propose_regions(scene, rng)
    assert boxes.dtype == np.float32
    counts.add(len(boxes) - len(scene.objects))
    assert boxes.min() >= 0 and boxes.max() <= 96
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    for item in scene.objects:
      away = np.abs(boxes - np.array(pictures.extent(item))).max(axis=1)
      assert (away <= 0.81).sum() == 1
    assert len(boxes) <= pictures.MAX_REGIONS
  assert counts == {2, 3}


def test_features_by_hand():
  # Left half black, right half white; the box is the whole picture, and the
  # margin repeats the border.
  pixels = np.zeros((96, 96, 3), np.uint8)
  pixels[:, 48:] = 255
  boxes = np.array([[0, 0, 96, 96]], np.float32)
  features = pictures.region_features(Image.fromarray(pixels), boxes)
  assert features.shape == (1, 240) and features.dtype == np.float32
  crop = features[0, :192].reshape(8, 8, 3)
  # The surroundings are the 40 x 40 pixels in the middle.
  surroundings = features[0, 192:].reshape(4, 4, 3)
  for grid, half in ((crop, 4), (surroundings, 2)):
    assert np.allclose(grid[:, :half], -78 / 63)
    assert np.allclose(grid[:, half:], (255 - 78) / 63)


def test_the_surroundings_tell_the_size():
  # A square of 12 x 12 pixels fills its crop as one of 24 x 24 does, but 36
  # of the 100 pixels of a cell next to the center of its surroundings.
  for radius, lit in ((6, 36 / 100), (12, 1.0)):
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[48 - radius : 48 + radius, 48 - radius : 48 + radius] = 255
    box = np.array([[48 - radius] * 2 + [48 + radius] * 2], np.float32)
    features = pictures.region_features(Image.fromarray(pixels), box)
    values = features[0, 192:].reshape(4, 4, 3)[1, 1] * 63 + 78
    assert np.allclose(values, 255 * lit, atol=1.0)


def test_features_come_from_the_picture():
  _, image, rng = make(0)
  boxes = pictures.propose_regions(make(0)[0], rng)
  features = pictures.region_features(image, boxes)
  other = pictures.region_features(make(1)[1], boxes)
  assert np.abs(features - other).max(axis=1).min() > 0.01
  order = np.arange(len(boxes))[::-1]
  turned = pictures.region_features(image, boxes[order])
  assert np.array_equal(turned, features[order])


def test_boxes7_by_hand():
  boxes = np.array([[10, 20, 30, 60]], np.float32)
  expected = [[0.1, 0.1, 0.3, 0.3, 0.2, 0.2, 0.04]]
  assert np.allclose(pictures.boxes7(boxes, 100, 200), expected)


def fit_linear(inputs, labels, num_classes):
  """Held-out accuracy of softmax regression."""
  inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
  inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
  train = len(inputs) * 4 // 5
  seen, targets = inputs[:train], np.eye(num_classes)[labels[:train]]
  weights = np.zeros((inputs.shape[1], num_classes))
  speed = np.zeros_like(weights)
  for _ in range(300):
    logits = seen @ weights
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    speed = 0.9 * speed - 0.02 * seen.T @ (probs - targets) / train
    weights += speed
  return np.mean((inputs[train:] @ weights).argmax(1) == labels[train:])


def test_shape_colour_and_size_can_be_read_linearly():
  features, boxes, labels = [], [], []
  for number in range(600):
    scene, image, rng = make(number)
    exact = np.array([pictures.extent(item) for item in scene.objects])
    jittered = exact + rng.uniform(-0.8, 0.8, exact.shape)
    features.append(pictures.region_features(image, jittered))
    boxes.append(pictures.boxes7(jittered, 96, 96))
    labels += [
      (SHAPES.index(i.shape), COLORS.index(i.colour), SIZES.index(i.size))
      for i in scene.objects
    ]
  inputs = np.concatenate(features).astype(np.float64)
  assert abs(inputs.mean()) < 0.5 and 0.7 < inputs.std() < 1.4
  shape, colour, size = np.array(labels).T
  assert fit_linear(inputs, shape, len(SHAPES)) > 0.98
  assert fit_linear(inputs, colour, len(COLORS)) > 0.98
  assert fit_linear(np.concatenate(boxes), size, 2) > 0.98
