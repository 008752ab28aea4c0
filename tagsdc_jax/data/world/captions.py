"""True captions of scenes, and splits in which each fits only one picture."""

import numpy as np

from tagsdc_jax.data.world import grammar, oracle
from tagsdc_jax.data.world.grammar import Mention, ParsedSentence
from tagsdc_jax.data.world.scenes import (
  Object,
  Scene,
  example_rng,
  sample_scene,
  sample_twin,
)

CAPTIONS_PER_PICTURE = 5
MAX_LENGTH = 16

# Chance of each kind of caption, and of keeping size and color in it.
_KINDS = ('full', 'short', 'chain', 'exists')
_CHANCES = (0.35, 0.35, 0.1, 0.2)
_KEPT = {
  'full': (1.0, 1.0),
  'short': (0.3, 1.0),
  'chain': (0.1, 0.7),
  'exists': (0.7, 1.0),
}
_MAX_TRIES = 300


def describe(
  scene: Scene, rng: np.random.Generator, num: int = CAPTIONS_PER_PICTURE
) -> list[ParsedSentence]:
  """Returns different true captions of a scene, 8 to 16 words each.

  Args:
    scene: what to describe.
    rng: draws the captions.
    num: how many; must be far fewer than the scene allows.
  """
  found: dict[ParsedSentence, None] = {}
  while len(found) < num:
    candidate = _draw_caption(scene, rng)
    if candidate is not None:
      found[candidate] = None
  return list(found)


def describe_uniquely(
  number: int, scenes: list[Scene], rng: np.random.Generator, num: int
) -> list[ParsedSentence] | None:
  """Returns captions true of scene `number` and of no other in the list.

  Returns:
    `num` different captions, or None if a few hundred draws gave fewer.
  """
  found: dict[ParsedSentence, None] = {}
  for _ in range(_MAX_TRIES):
    candidate = _draw_caption(scenes[number], rng)
    if candidate is None or any(
      oracle.is_true(candidate, other)
      for at, other in enumerate(scenes)
      if at != number
    ):
      continue
    found[candidate] = None
    if len(found) == num:
      return list(found)
  return None


def make_split(
  seed: int, split: str, num_pictures: int, is_unique: bool
) -> list[tuple[Scene, list[ParsedSentence]]]:
  """Returns the scenes and captions of one split.

  Args:
    seed: seed of the whole data set.
    split: "train", "validation" or "test".
    num_pictures: how many scenes.
    is_unique: whether every caption must be true of exactly one of them. If so,
      scenes come in pairs that differ in one detail, so that the captions are
      about it.
  """
  draws = [0] * num_pictures
  while True:
    scenes: list[Scene] = []
    for number, draw in enumerate(draws):
      rng = example_rng(seed, split, number, 0, draw)
      scenes.append(
        sample_twin(scenes[-1], rng)
        if is_unique and number % 2
        else sample_scene(rng)
      )
    captions: list[list[ParsedSentence]] = []
    for number in range(num_pictures):
      rng = example_rng(seed, split, number, 1)
      if is_unique:
        unique = describe_uniquely(number, scenes, rng, CAPTIONS_PER_PICTURE)
        if unique is None:
          # The scene is too similar to others: draw another, check all again.
          draws[number] += 1
          break
        captions.append(unique)
      else:
        captions.append(describe(scenes[number], rng))
    else:
      return list(zip(scenes, captions))


def _draw_caption(
  scene: Scene, rng: np.random.Generator
) -> ParsedSentence | None:
  """Returns one true caption, or None if the draw gives no valid one."""
  kind = str(rng.choice(_KINDS, p=_CHANCES))
  order = [scene.objects[at] for at in rng.permutation(len(scene.objects))]
  relations: list[str] = []
  if kind == 'exists':
    objects = order[: rng.integers(2, 4)]
  else:
    objects = order[: 4 if kind == 'chain' else 2]
    if kind == 'chain' and len(objects) < 4:
      return None
    for one, two in zip(objects[::2], objects[1::2]):
      relation = oracle.clear_relation(one, two)
      if relation is None:
        return None
      relations.append(relation)
  mentions = tuple(_mention(item, kind, rng) for item in objects)
  caption = ParsedSentence(mentions, tuple(relations))
  length = len(grammar.render_sentence(caption))
  return caption if length <= MAX_LENGTH else None


def _mention(item: Object, kind: str, rng: np.random.Generator) -> Mention:
  keeps_size, keeps_color = rng.random(2) < _KEPT[kind]
  return Mention(
    item.shape,
    item.colour if keeps_color else None,
    item.size if keeps_size else None,
  )
