"""The oracle: is a sentence true of a scene?

A sentence is true if its mentions can be assigned to distinct objects so
that all attributes and relations hold. A relation holds in a sector wider
than a quarter turn, so two relations hold for a nearly diagonal pair, and
exactly one for a clear pair. Captions are made only from clear pairs.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from tagsdc_jax.data.world import grammar
from tagsdc_jax.data.world.grammar import Mention, ParsedSentence
from tagsdc_jax.data.world.scenes import COLORS, SHAPES, SIZES, Object, Scene

Verdict = Literal['false', 'still true', 'not a sentence']

# A relation along one axis holds up to this ratio of the two distances.
SECTOR = 0.7

_OPPOSITES = {
  'north': 'south',
  'south': 'north',
  'east': 'west',
  'west': 'east',
}


def judge(words: Sequence[str], scene: Scene) -> Verdict:
  """Returns the oracle's verdict on words, e.g. of a generated negative."""
  parsed = grammar.parse(words)
  if parsed is None:
    return 'not a sentence'
  return 'still true' if is_true(parsed, scene) else 'false'


def judge_ids(token_ids: Sequence[int] | np.ndarray, scene: Scene) -> Verdict:
  """Returns `judge` of token ids [length] without [CLS], [SEP] and padding."""
  return judge(grammar.to_words(token_ids), scene)


def is_true(parsed: ParsedSentence, scene: Scene) -> bool:
  """Returns whether the mentions can be assigned to distinct objects."""
  return next(_assignments(parsed, scene), None) is not None


def holds(relation: str, one: Object, two: Object) -> bool:
  """Returns whether the relation holds, leniently, between two objects."""
  across, down = two.x - one.x, two.y - one.y
  if relation in ('east', 'west'):
    ahead, aside = across, abs(down)
  else:
    ahead, aside = down, abs(across)
  if relation in ('south', 'east'):
    ahead = -ahead
  return ahead > 0 and ahead >= SECTOR * aside


def clear_relation(one: Object, two: Object) -> str | None:
  """Returns the only relation that holds for the pair; None if two hold."""
  names = [name for name in grammar.RELATIONS if holds(name, one, two)]
  return names[0] if len(names) == 1 else None


def foils(
  parsed: ParsedSentence, scene: Scene, rng: np.random.Generator
) -> dict[str, tuple[str, ...]]:
  """Returns false sentences that differ from a true one in a single place.

  Args:
    parsed: a sentence that is true of the scene.
    scene: the scene.
    rng: selects among the edits.
  Returns:
    Words by type of edit: "colour", "shape", "size", "relation", "swap". A type
    is absent if the sentence has no such word or no such edit is false. A
    relation is replaced by its opposite, or its two mentions are swapped, and
    only if the sentence is true of a clear pair.
  """
  found = {}
  for kind, edits in _edits(parsed, scene).items():
    for number in rng.permutation(len(edits)):
      if not is_true(edits[number], scene):
        found[kind] = grammar.render_sentence(edits[number])
        break
  return found


def _edits(
  parsed: ParsedSentence, scene: Scene
) -> dict[str, list[ParsedSentence]]:
  edits: dict[str, list[ParsedSentence]] = {}
  for kind, values in (('colour', COLORS), ('shape', SHAPES), ('size', SIZES)):
    edits[kind] = []
    for number, mention in enumerate(parsed.mentions):
      current = getattr(mention, kind)
      if current is None:
        continue
      for value in values:
        if value != current:
          mentions = list(parsed.mentions)
          mentions[number] = dataclasses.replace(mention, **{kind: value})
          edits[kind].append(ParsedSentence(tuple(mentions), parsed.relations))
  clear = [
    number
    for number in range(len(parsed.relations))
    if any(
      clear_relation(objects[2 * number], objects[2 * number + 1])
      for objects in _assignments(parsed, scene)
    )
  ]
  edits['relation'] = [_turn_relation(parsed, number) for number in clear]
  edits['swap'] = [_swap_mentions(parsed, number) for number in clear]
  return edits


def _turn_relation(parsed: ParsedSentence, number: int) -> ParsedSentence:
  relations = list(parsed.relations)
  relations[number] = _OPPOSITES[relations[number]]
  return ParsedSentence(parsed.mentions, tuple(relations))


def _swap_mentions(parsed: ParsedSentence, number: int) -> ParsedSentence:
  mentions = list(parsed.mentions)
  first = 2 * number
  mentions[first : first + 2] = mentions[first + 1], mentions[first]
  return ParsedSentence(tuple(mentions), parsed.relations)


def _fits(mention: Mention, item: Object) -> bool:
  return (
    mention.shape == item.shape
    and mention.colour in (None, item.colour)
    and mention.size in (None, item.size)
  )


def _assignments(
  parsed: ParsedSentence, scene: Scene
) -> Iterator[tuple[Object, ...]]:
  """Yields all ways to choose distinct objects, one per mention."""
  fitting: list[list[int]] = []
  for mention in parsed.mentions:
    numbers = [
      number
      for number, item in enumerate(scene.objects)
      if _fits(mention, item)
    ]
    # Most sentences fail here, before any assignment is tried.
    if not numbers:
      return
    fitting.append(numbers)
  chosen: list[int] = []

  def extend() -> Iterator[tuple[Object, ...]]:
    at = len(chosen)
    if at == len(fitting):
      yield tuple(scene.objects[number] for number in chosen)
      return
    for number in fitting[at]:
      if number in chosen:
        continue
      if (
        at % 2
        and parsed.relations
        and not holds(
          parsed.relations[at // 2],
          scene.objects[chosen[-1]],
          scene.objects[number],
        )
      ):
        continue
      chosen.append(number)
      yield from extend()
      chosen.pop()

  yield from extend()
