"""The content of the page of foil files: plain data, filled by `runs`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tagsdc_jax.reporting.page import content


@dataclasses.dataclass(frozen=True)
class Piece:
  """Consecutive words of a sentence.

  Attributes:
    text: the words.
    is_changed: whether the caption, or the foil, has others in their place.
  """

  text: str
  is_changed: bool = False


@dataclasses.dataclass(frozen=True)
class Sentence:
  """A caption or a foil of an example.

  Attributes:
    pieces: the sentence.
    is_caption: whether it is true of the (first) picture.
    scores: raw matching score with each picture.
  """

  pieces: Sequence[Piece]
  is_caption: bool
  scores: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Example:
  """A scored item.

  Attributes:
    kind: its row of the results.
    is_right: whether it counts as right.
    pictures: one, or two.
    sentences: the highest score with the first picture first.
    num_hidden: further foils.
  """

  kind: str
  is_right: bool
  pictures: Sequence[content.Picture]
  sentences: Sequence[Sentence]
  num_hidden: int = 0


@dataclasses.dataclass(frozen=True)
class Page:
  """Everything on the page.

  Attributes:
    name: of the run.
    results: from `runs.foils.evaluate`.
    notes: lines on what was not scored, and what was noticed.
    examples: by family.
  """

  name: str
  results: Mapping[str, Any]
  notes: Sequence[str] = ()
  examples: Mapping[str, Sequence[Example]] = dataclasses.field(
    default_factory=dict
  )
