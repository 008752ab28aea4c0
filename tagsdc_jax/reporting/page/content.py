"""What the page shows: plain data, filled by `running`, read by the templates.

Recalls and measures stay the dicts of `results.json`: any of them, or any
number in them, may be missing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

Line = dict[str, float]  # One line of metrics.jsonl; `update` among them.


@dataclasses.dataclass(frozen=True)
class Phase:
  """One phase of training, finished or not.

  Attributes:
    name: one of `settings.PHASES`.
    settings: flat; empty where the phase has no run folder, as its weights
      come with the package.
    versions: of Python and packages.
    updates: done so far.
    seconds: training and evaluation took.
    test: recalls on the test split, with `images` and `captions` if known.
    validation: the same of the validation subset.
    measures: `foil_accuracy`, `synthetic_negatives`, `retrieved_negatives`,
      each a dict of per cents or None.
    parameters_sha256: of its parameters; '' if unknown.
    train: training's lines, by update.
    validations: validation's lines, by update.
  """

  name: str
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  versions: dict[str, str] = dataclasses.field(default_factory=dict)
  updates: int = 0
  seconds: float | None = None
  test: dict[str, Any] | None = None
  validation: dict[str, Any] | None = None
  measures: dict[str, Any] = dataclasses.field(default_factory=dict)
  parameters_sha256: str = ''
  train: Sequence[Line] = ()
  validations: Sequence[Line] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture with its region boxes.

  Attributes:
    name: the data's name of it.
    png: the file's bytes; None where the data has features only.
    boxes: x1, y1, x2, y2 each, as shares of the picture.
  """

  name: str
  png: bytes | None
  boxes: Sequence[Sequence[float]]


@dataclasses.dataclass(frozen=True)
class RankedCaption:
  """A caption among those scored against one picture; `rank` from 1."""

  text: str
  rank: int
  probability: float  # Sigmoid of the match score.
  is_right: bool


@dataclasses.dataclass(frozen=True)
class PictureExample:
  """The captions that the model likes best for a picture."""

  picture: Picture
  top: Sequence[RankedCaption]
  best_right: RankedCaption


@dataclasses.dataclass(frozen=True)
class Word:
  """One token of a sentence.

  Attributes:
    text: the token; a word piece without its "##".
    is_piece: whether it continues the token before.
    original: the caption's token where it was replaced, else None.
    replaced_prob: the discriminator's, None before stage 2.
    correction: what the correction head says instead; replaced words only.
  """

  text: str
  is_piece: bool = False
  original: str | None = None
  replaced_prob: float | None = None
  correction: str | None = None


@dataclasses.dataclass(frozen=True)
class Negative:
  """A sentence that the model wrote; `verdict` is None without an oracle."""

  words: Sequence[Word]
  probability: float
  verdict: str | None


@dataclasses.dataclass(frozen=True)
class NegativesExample:
  """A caption and the hardest sentences that the model made of it.

  Attributes:
    picture: what the caption is of.
    text: the caption as its author wrote it; may be empty.
    caption: its words.
    probability: its own match.
    negatives: hardest first.
    num_generated: sentences that were drawn.
    num_valid: distinct ones that are no caption of the picture.
  """

  picture: Picture
  text: str
  caption: Sequence[Word]
  probability: float
  negatives: Sequence[Negative]
  num_generated: int
  num_valid: int


@dataclasses.dataclass(frozen=True)
class Examples:
  """What a trained network does on the test split.

  Attributes:
    phase: that trained it.
    update: of its checkpoint.
    data_name: the split's.
    pictures: pictures with their best captions.
    negatives: captions with their negatives.
    num_captions: captions that the pictures were scored against.
    all_captions: captions of the split.
    has_oracle: whether verdicts are known.
  """

  phase: str
  update: int
  data_name: str
  pictures: Sequence[PictureExample]
  negatives: Sequence[NegativesExample]
  num_captions: int
  all_captions: int
  has_oracle: bool


@dataclasses.dataclass(frozen=True)
class Report:
  """Everything on the page.

  Attributes:
    name: of the folder.
    phases: in their order, at least one.
    examples: None if they could not be made.
    notes: what is missing and why, a sentence each.
  """

  name: str
  phases: Sequence[Phase]
  examples: Examples | None = None
  notes: Sequence[str] = ()
