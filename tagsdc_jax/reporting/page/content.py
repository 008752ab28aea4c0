"""The page's content: plain data, filled by `runs`, read by the templates.

Recalls and measures are the dicts of `results.json`: any of them, or any number
in them, may be missing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

Line = dict[str, float]  # One line of metrics.jsonl, including `update`.


@dataclasses.dataclass(frozen=True)
class Phase:
  """One phase of training, finished or not.

  Attributes:
    name: one of `settings.PHASES`.
    settings: flat; empty if the phase has no run folder because its weights
      come with the package.
    versions: of Python and packages.
    updates: number of updates done.
    seconds: duration of training and evaluation.
    test: recalls on the test split, with `images` and `captions` if known.
    validation: the same on the validation subset.
    measures: `foil_accuracy`, `synthetic_negatives`, `retrieved_negatives` of
      `world_measures.measure`; any may be None.
    parameters_sha256: hash of its parameters; '' if unknown.
    train: metrics of training, by update.
    validations: metrics of validation, by update.
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
    name: its name in the data.
    file: PNG or JPEG, its bytes; None if the data has only features.
    boxes: x1, y1, x2, y2 each, as fractions of the picture.
    ratio: width by height; 0 if unknown.
  """

  name: str
  file: bytes | None
  boxes: Sequence[Sequence[float]]
  ratio: float = 0.0


@dataclasses.dataclass(frozen=True)
class RankedCaption:
  """A caption among those scored against one picture; `rank` from 1."""

  text: str
  rank: int
  probability: float  # Sigmoid of the match score.
  is_right: bool


@dataclasses.dataclass(frozen=True)
class PictureExample:
  """A picture's top captions, and the best of its own."""

  picture: Picture
  top: Sequence[RankedCaption]
  best_right: RankedCaption


@dataclasses.dataclass(frozen=True)
class Word:
  """One token of a sentence.

  Attributes:
    text: the token; a word piece without its "##".
    is_piece: whether it continues the previous token.
    original: the caption's token if it was replaced, else None.
    replaced_prob: the discriminator's probability, None before stage 2.
    correction: prediction of the correction head; replaced words only.
  """

  text: str
  is_piece: bool = False
  original: str | None = None
  replaced_prob: float | None = None
  correction: str | None = None


@dataclasses.dataclass(frozen=True)
class Negative:
  """A generated sentence; `verdict` is None without an oracle."""

  words: Sequence[Word]
  probability: float
  verdict: str | None


@dataclasses.dataclass(frozen=True)
class NegativesExample:
  """A caption and the hardest sentences generated from it.

  Attributes:
    picture: the caption's picture.
    text: the raw caption; may be empty.
    caption: its words.
    probability: of its match with the picture.
    negatives: hardest first.
    num_generated: number of sentences drawn.
    num_valid: number of distinct ones that are not captions of the picture.
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
  """Outputs of a trained network on the test split.

  Attributes:
    phase: the phase that trained it.
    update: of its checkpoint.
    data_name: the split's name.
    pictures: pictures with their top captions.
    negatives: captions with their negatives.
    num_captions: number of captions that the pictures were scored against.
    all_captions: number of captions of the split.
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
    name: of the run's folder.
    phases: in training order, at least one.
    examples: None if unavailable.
    notes: sentences on what is missing and why.
    ablation: rows of a demo's comparison, see `runs.demo.run_demo`.
  """

  name: str
  phases: Sequence[Phase]
  examples: Examples | None = None
  notes: Sequence[str] = ()
  ablation: Sequence[dict[str, Any]] = ()
