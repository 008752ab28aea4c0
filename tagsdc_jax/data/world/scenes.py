"""Scenes: a few flat objects on a square canvas, drawn at random.

Lengths are pixels, x grows to the right and y grows downwards.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

SHAPES = ('circle', 'square', 'triangle', 'star', 'cross')
COLORS = ('red', 'green', 'blue', 'yellow', 'purple', 'white')
SIZES = ('small', 'large')
SPLITS = ('train', 'validation', 'test')
CANVAS = 96

MIN_OBJECTS = 3
MAX_OBJECTS = 5
# Far enough apart that the size can be read from a jittered box.
_RADII = {'small': (6.5, 8.0), 'large': (12.0, 14.0)}
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
      candidate = _sample_object(rng)
      if all(_is_apart(candidate, other) for other in objects):
        objects.append(candidate)
      if len(objects) == count:
        return Scene(tuple(objects))


def _sample_object(rng: np.random.Generator) -> Object:
  size = SIZES[rng.integers(len(SIZES))]
  radius = round(float(rng.uniform(*_RADII[size])), 2)
  low, high = radius + _BORDER, CANVAS - radius - _BORDER
  return Object(
    shape=SHAPES[rng.integers(len(SHAPES))],
    colour=COLORS[rng.integers(len(COLORS))],
    size=size,
    x=round(float(rng.uniform(low, high)), 2),
    y=round(float(rng.uniform(low, high)), 2),
    radius=radius,
  )


def _is_apart(one: Object, two: Object) -> bool:
  distance = max(abs(one.x - two.x), abs(one.y - two.y))
  return distance >= one.radius + two.radius + _GAP
