"""Tests of scenes and of the captions made for them."""

import numpy as np

from tagsdc_jax.data.world import captions, grammar, oracle
from tagsdc_jax.data.world.scenes import (
  ATTRIBUTES,
  CANVAS,
  COLORS,
  SHAPES,
  SIZES,
  Scene,
  example_rng,
  sample_scene,
)


def test_scenes_are_valid_and_survive_json():
  counts = set()
  for number in range(300):
    scene = sample_scene(example_rng(0, 'train', number))
    counts.add(len(scene.objects))
    assert Scene.from_json(scene.to_json()) == scene
    for at, item in enumerate(scene.objects):
      assert item.shape in SHAPES and item.colour in COLORS
      assert (item.radius > 10) == (item.size == SIZES[1])
      assert item.radius < min(item.x, item.y)
      assert max(item.x, item.y) < CANVAS - item.radius
      for other in scene.objects[:at]:
        distance = max(abs(item.x - other.x), abs(item.y - other.y))
        assert distance > item.radius + other.radius
  assert counts == {3, 4, 5}


def test_objects_of_a_picture_resemble_each_other():
  # Two of three attributes in common: by chance in 5 % of pairs.
  alike = pairs = 0
  for number in range(300):
    objects = sample_scene(example_rng(0, 'train', number)).objects
    for at, item in enumerate(objects):
      for other in objects[:at]:
        same = [getattr(item, x) == getattr(other, x) for x in ATTRIBUTES]
        alike += sum(same) >= 2
        pairs += 1
  assert 0.2 < alike / pairs < 0.5


def test_streams_differ_by_seed_split_index_and_stream():
  keys = [
    (0, 'train', 0),
    (1, 'train', 0),
    (0, 'test', 0),
    (0, 'train', 1),
    (0, 'train', 0, 1),
  ]
  draws = {float(example_rng(*key).random()) for key in keys}
  assert len(draws) == len(keys)
  assert example_rng(*keys[0]).random() == example_rng(*keys[0]).random()


def test_captions_are_true_different_and_of_good_length():
  kinds = {0: 0, 1: 0, 2: 0}
  for number in range(300):
    rng = example_rng(1, 'train', number)
    scene = sample_scene(rng)
    found = captions.describe(scene, rng)
    assert len(set(found)) == captions.CAPTIONS_PER_PICTURE
    for parsed in found:
      words = grammar.render_sentence(parsed)
      assert 8 <= len(words) <= 16
      assert oracle.judge(words, scene) == 'still true'
      kinds[len(parsed.relations)] += 1
  assert kinds[1] > kinds[0] > kinds[2] > 0


def test_unique_captions_are_true_of_one_scene():
  pairs = captions.make_split(5, 'validation', 60, is_unique=True)
  scenes = [scene for scene, _ in pairs]
  for number, (_, sentences) in enumerate(pairs):
    assert len(set(sentences)) == 5
    for parsed in sentences:
      held = [at for at, s in enumerate(scenes) if oracle.is_true(parsed, s)]
      assert held == [number]


def test_a_twin_scene_has_no_unique_caption():
  scene = sample_scene(np.random.default_rng(0))
  rng = np.random.default_rng(1)
  assert captions.describe_uniquely(0, [scene, scene], rng, 1) is None


def test_a_scene_without_unique_captions_is_drawn_again(monkeypatch):
  # The first draws of pictures 0 and 2 are the same; 1 is like 0.
  real = captions.sample_scene
  twin = real(np.random.default_rng(0))
  calls = []

  def sample(rng):
    calls.append(rng)
    return twin if len(calls) <= 2 else real(rng)

  monkeypatch.setattr(captions, 'sample_scene', sample)
  pairs = captions.make_split(0, 'test', 3, is_unique=True)
  assert len(calls) == 4
  assert pairs[0][0] != pairs[2][0]


def test_pictures_to_evaluate_come_in_pairs_that_differ_in_one_detail():
  pairs = captions.make_split(3, 'test', 80, is_unique=True)
  scenes = [scene for scene, _ in pairs]
  moved = 0
  for one, two in zip(scenes[::2], scenes[1::2], strict=True):
    assert len(one.objects) == len(two.objects)
    both = list(zip(one.objects, two.objects))
    looks = [
      sum(getattr(a, name) != getattr(b, name) for name in ATTRIBUTES)
      for a, b in both
    ]
    places = [(a.x, a.y) != (b.x, b.y) for a, b in both]
    assert (sum(looks), sum(places)) in ((1, 0), (0, 2))
    moved += sum(places) == 2
    for number, item in enumerate(two.objects):
      for other in two.objects[:number]:
        distance = max(abs(item.x - other.x), abs(item.y - other.y))
        assert distance > item.radius + other.radius
  assert 5 < moved < 35
  # Training pictures have no twins.
  pairs = captions.make_split(3, 'train', 80, is_unique=False)
  assert not any(
    {(o.x, o.y) for o in a.objects} == {(o.x, o.y) for o in b.objects}
    for (a, _), (b, _) in zip(pairs[::2], pairs[1::2], strict=True)
  )


def test_training_pictures_do_not_depend_on_how_many_there_are():
  few = captions.make_split(2, 'train', 3, is_unique=False)
  many = captions.make_split(2, 'train', 6, is_unique=False)
  assert few == many[:3]
  other = captions.make_split(2, 'validation', 3, is_unique=False)
  assert all(a[0] != b[0] for a, b in zip(few, other))
