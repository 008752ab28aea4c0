"""Scenes: a few flat objects on a square canvas, drawn at random.

Lengths are pixels, x grows to the right and y grows downwards.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHAPES = ('circle', 'square', 'triangle', 'star', 'cross', 'diamond')
COLORS = ('red', 'pink', 'yellow', 'green', 'cyan', 'blue', 'purple', 'white')
SIZES = ('small', 'large')
# Attributes of an object, and the values of each.
ATTRIBUTES = {'shape': SHAPES, 'colour': COLORS, 'size': SIZES}
SPLITS = ('train', 'validation', 'test')
CANVAS = 96

MIN_OBJECTS = 3
MAX_OBJECTS = 5
# Far enough apart that the size can be read from a jittered box.
_RADII = {'small': (6.5, 8.0), 'large': (12.0, 14.0)}
# So that single words rarely identify an object or a picture.
_LOOK_ALIKE_CHANCE = 0.5
_GAP = 4.0
_BORDER = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Object:
  """One object.

  Attributes:
    shape: one of `SHAPES`.
    colour: one of `COLORS`; spelled as in the stored scenes.
    size: one of `SIZES`.
    x, y: center.
    radius: half the object's extent.
  """

  shape: str
  colour: str
  size: str
  x: float
  y: float
  radius: float


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
  """The 3 to 5 objects of one picture."""

  objects: tuple[Object, ...]

  def to_json(self) -> str:
    """Returns the scene as one line of JSON; floats are preserved exactly."""
    return json.dumps([dataclasses.asdict(item) for item in self.objects])

  @staticmethod
  def from_json(text: str) -> 'Scene':
    """Returns the scene that `to_json` wrote."""
    rows: list[Mapping[str, Any]] = json.loads(text)
    return Scene(tuple(Object(**row) for row in rows))


def example_rng(
  seed: int, split: str, index: int, *stream: int
) -> np.random.Generator:
  """Returns a generator that depends only on its arguments.

  Args:
    seed: nonnegative seed of the whole data set.
    split: one of `SPLITS`; splits never share a stream.
    index: number of the example in its split.
    *stream: numbers that distinguish the streams of one example.
  """
  return np.random.default_rng([seed, SPLITS.index(split), index, *stream])


def sample_scene(rng: np.random.Generator) -> Scene:
  """Returns a scene of 3 to 5 objects whose bounding squares keep a gap."""
  count = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
  while True:
    objects: list[Object] = []
    # The first objects can leave no room for the rest: then start over.
    for _ in range(50):
      candidate = _sample_object(objects, rng)
      if all(_is_apart(candidate, other) for other in objects):
        objects.append(candidate)
      if len(objects) == count:
        return Scene(tuple(objects))


def sample_twin(scene: Scene, rng: np.random.Generator) -> Scene:
  """Returns a scene that differs from another in one detail.

  One object has another shape, color or size, or two objects that differ have
  exchanged places.
  """
  while True:
    objects = list(scene.objects)
    one, two = rng.choice(len(objects), 2, replace=False)
    if rng.random() < 0.5:
      objects[one] = _change_attribute(objects[one], rng)
    else:
      first, second = objects[one], objects[two]
      objects[one] = dataclasses.replace(first, x=second.x, y=second.y)
      objects[two] = dataclasses.replace(second, x=first.x, y=first.y)
      if all(getattr(first, x) == getattr(second, x) for x in ATTRIBUTES):
        continue
    if _fit(objects):
      return Scene(tuple(objects))


def _change_attribute(item: Object, rng: np.random.Generator) -> Object:
  name = str(rng.choice(list(ATTRIBUTES)))
  others = [x for x in ATTRIBUTES[name] if x != getattr(item, name)]
  values: dict[str, Any] = {name: others[rng.integers(len(others))]}
  if name == 'size':
    values['radius'] = round(float(rng.uniform(*_RADII[values[name]])), 2)
  return dataclasses.replace(item, **values)


def _fit(objects: Sequence[Object]) -> bool:
  """Returns whether the objects are apart and inside the canvas."""
  return all(
    item.radius + _BORDER <= min(item.x, item.y)
    and max(item.x, item.y) <= CANVAS - item.radius - _BORDER
    and all(_is_apart(item, other) for other in objects[:number])
    for number, item in enumerate(objects)
  )


def _sample_object(
  others: Sequence[Object], rng: np.random.Generator
) -> Object:
  """Returns an object, often with two of the three attributes of another."""
  attributes = {
    name: values[rng.integers(len(values))]
    for name, values in ATTRIBUTES.items()
  }
  if others and rng.random() < _LOOK_ALIKE_CHANCE:
    other = others[int(rng.integers(len(others)))]
    own = rng.choice(list(ATTRIBUTES))
    attributes |= {
      name: getattr(other, name) for name in ATTRIBUTES if name != own
    }
  radius = round(float(rng.uniform(*_RADII[attributes['size']])), 2)
  low, high = radius + _BORDER, CANVAS - radius - _BORDER
  return Object(
    **attributes,
    x=round(float(rng.uniform(low, high)), 2),
    y=round(float(rng.uniform(low, high)), 2),
    radius=radius,
  )


def _is_apart(one: Object, two: Object) -> bool:
  distance = max(abs(one.x - two.x), abs(one.y - two.y))
  return distance >= one.radius + two.radius + _GAP
