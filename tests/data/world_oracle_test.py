"""Tests of the oracle on scenes worked out by hand."""

import numpy as np
import pytest

from tagsdc_jax.data.world import captions, grammar, oracle
from tagsdc_jax.data.world.scenes import (
  Object,
  Scene,
  example_rng,
  sample_scene,
)

# y grows downwards: the circle is west of the square, the cross south of both.
CIRCLE = Object('circle', 'red', 'small', 20.0, 30.0, 7.0)
SQUARE = Object('square', 'blue', 'large', 70.0, 30.0, 13.0)
CROSS = Object('cross', 'red', 'small', 45.0, 80.0, 7.0)
SCENE = Scene((CIRCLE, SQUARE, CROSS))


@pytest.mark.parametrize(
  'text, verdict',
  [
    ('a red circle west of a blue square', 'still true'),
    ('a blue square east of a red circle', 'still true'),
    ('a red circle east of a blue square', 'false'),
    ('a red circle north of a blue square', 'false'),
    ('a large red circle west of a blue square', 'false'),
    ('a square north of a red cross', 'still true'),
    ('a square south of a red cross', 'false'),
    ('there is a red cross and a small circle', 'still true'),
    # Two mentions need two objects: there is only one square.
    ('there is a square and a large square', 'false'),
    ('there is a circle and a cross and a square', 'still true'),
    ('there is a circle and a cross and a star', 'false'),
    # Four mentions cannot be four of three objects.
    ('a circle west of a square and a circle north of a cross', 'false'),
    ('a red west of a blue square', 'not a sentence'),
    ('circle', 'not a sentence'),
  ],
)
def test_judge(text, verdict):
  assert oracle.judge(text.split(), SCENE) == verdict
  assert oracle.judge_ids(grammar.to_ids(text.split()), SCENE) == verdict


@pytest.mark.parametrize(
  'dx, dy, expected',
  [
    (10, 0, ['west']),
    (-10, 0, ['east']),
    (0, 10, ['north']),
    (0, -10, ['south']),
    (10, 10, ['north', 'west']),
    (-10, 10, ['north', 'east']),
    # 6.9 < 0.7 * 10 < 7.1: just outside and just inside the dead zone.
    (10, 6.9, ['west']),
    (10, 7.1, ['north', 'west']),
    (-7.1, -10, ['south', 'east']),
    (-6.9, -10, ['south']),
  ],
)
def test_relations_are_lenient_sectors(dx, dy, expected):
  two = Object('star', 'white', 'small', CIRCLE.x + dx, CIRCLE.y + dy, 7.0)
  held = [name for name in grammar.RELATIONS if oracle.holds(name, CIRCLE, two)]
  assert held == expected
  clear = expected[0] if len(expected) == 1 else None
  assert oracle.clear_relation(CIRCLE, two) == clear


def test_any_fitting_pair_makes_a_relation_true():
  second = Object('circle', 'red', 'small', 90.0, 30.0, 7.0)
  scene = Scene((CIRCLE, SQUARE, second))
  for text in (
    'a red circle west of a square',
    'a red circle east of a square',
    'a red circle west of a red circle',
    'a circle west of a circle',
    'there is a circle and a circle',
  ):
    assert oracle.judge(text.split(), scene) == 'still true', text
  text = 'there is a circle and a circle and a circle'
  assert oracle.judge(text.split(), scene) == 'false'


def test_assignment_looks_past_the_first_choice():
  # The first mention must leave the only red star to the second.
  red = Object('star', 'red', 'small', 20.0, 20.0, 7.0)
  blue = Object('star', 'blue', 'small', 60.0, 20.0, 7.0)
  scene = Scene((red, blue, SQUARE))
  text = 'there is a star and a red star'
  assert oracle.judge(text.split(), scene) == 'still true'


def test_foils_by_hand():
  parsed = grammar.parse(
    ['a', 'red', 'circle', 'west', 'of', 'a', 'blue', 'square']
  )
  found = oracle.foils(parsed, SCENE, np.random.default_rng(0))
  assert set(found) == {'colour', 'shape', 'relation', 'swap'}
  assert ' '.join(found['relation']) == 'a red circle east of a blue square'
  assert ' '.join(found['swap']) == 'a blue square west of a red circle'


def test_no_foil_where_every_edit_is_true():
  scene = Scene(
    (CIRCLE, Object('circle', 'red', 'small', 90.0, 30.0, 7.0), SQUARE)
  )
  rng = np.random.default_rng(0)
  turned = grammar.parse(['a', 'circle', 'west', 'of', 'a', 'square'])
  assert not {'relation', 'swap'} & set(oracle.foils(turned, scene, rng))


def test_no_relation_foil_for_an_unclear_pair():
  star = Object('star', 'white', 'small', 40.0, 50.0, 7.0)
  parsed = grammar.parse(['a', 'circle', 'west', 'of', 'a', 'star'])
  scene = Scene((CIRCLE, star, SQUARE))
  assert oracle.is_true(parsed, scene)
  found = oracle.foils(parsed, scene, np.random.default_rng(0))
  assert not {'relation', 'swap'} & set(found)


def test_foils_are_false_and_differ_in_one_place():
  kinds = set()
  for number in range(200):
    rng = example_rng(3, 'test', number)
    scene = sample_scene(rng)
    for parsed in captions.describe(scene, rng):
      words = grammar.render_sentence(parsed)
      for kind, foil in oracle.foils(parsed, scene, rng).items():
        assert oracle.judge(foil, scene) == 'false'
        if kind == 'swap':
          assert sorted(foil) == sorted(words)
        else:
          assert len(foil) == len(words)
          assert sum(a != b for a, b in zip(foil, words)) == 1
        kinds.add(kind)
  assert kinds == {'colour', 'shape', 'size', 'relation', 'swap'}
