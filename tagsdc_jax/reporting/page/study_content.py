"""The content of a study's page: plain data, filled by `studies`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tagsdc_jax.reporting.page import content

Interval = tuple[float, float, float]  # Mean, low, high; see `is_percent`.


@dataclasses.dataclass(frozen=True)
class Cell:
  """A number of an arm.

  Attributes:
    value: the mean over seeds.
    change: the difference from the arm's reference; None without one.
  """

  value: Interval
  change: Interval | None

  @property
  def is_clear(self) -> bool:
    """Whether the interval of the change does not include zero."""
    return self.change is not None and (
      self.change[1] > 0 or self.change[2] < 0
    )


@dataclasses.dataclass(frozen=True)
class Row:
  """An arm.

  Attributes:
    label: what it is.
    reference: label of the arm that it is compared with; may be empty.
    updates: of its last phase, mean over seeds; 0: none.
    flop: likewise, those that are needed; 0: unknown.
    cells: name of a number -> its value.
  """

  label: str
  reference: str
  updates: float
  flop: float
  cells: Mapping[str, Cell]


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of a figure.

  Attributes:
    label: what it is, usually an arm.
    points: x, mean, and low and high end of its band; ascending x, at least one
      point. Where the ends are equal, no band is known.
  """

  label: str
  points: Sequence[tuple[float, float, float, float]]


@dataclasses.dataclass(frozen=True)
class Lines:
  """A figure of at most eight lines.

  Attributes:
    title: a few words.
    x_label, y_label: what the axes are, with units.
    lines: those that are drawn.
    note: what readers should know; may be empty.
    is_log: whether large x are closer to each other, with ticks at the points'
      x; 0 may be among them.
    band: what the bands are.
  """

  title: str
  x_label: str
  y_label: str
  lines: Sequence[Line]
  note: str = ''
  is_log: bool = False
  band: str = '95 % interval'


@dataclasses.dataclass(frozen=True)
class Distributions:
  """A figure of at most eight distributions over the same bins.

  Attributes:
    title: a few words.
    x_label: what is distributed, with its unit.
    edges: ascending ends of the bins, one more than bins.
    shares: label -> percent in each bin.
    note: what readers should know; may be empty.
  """

  title: str
  x_label: str
  edges: Sequence[float]
  shares: Mapping[str, Sequence[float]]
  note: str = ''


@dataclasses.dataclass(frozen=True)
class Study:
  """Everything on the page.

  Attributes:
    title: a few words.
    question: what it asks.
    notes: what readers should know; may be empty.
    num_seeds: of every arm.
    rows: the arms, in order.
    about: data, start and versions.
    figures: shown in order.
    shown: numbers that are compared and drawn with their intervals; empty: all
      that are no parts of others. All are in the last table.
    examples: negatives of an arm; None: none.
    meanings: what some of the numbers are, by name.
  """

  title: str
  question: str
  notes: str
  num_seeds: int
  rows: Sequence[Row]
  about: Mapping[str, Any]
  figures: Sequence[Lines | Distributions] = ()
  shown: Sequence[str] = ()
  examples: content.Examples | None = None
  meanings: Mapping[str, str] = dataclasses.field(default_factory=dict)


def is_percent(number: str) -> bool:
  """Whether a number is in percent; else it is a mean in its own unit.

  Args:
    number: its name.
  """
  return not number.startswith('mean ')


def to_json(study: Study) -> dict[str, Any]:
  """Returns the study for a JSON file, without the examples' pictures."""
  fields = dataclasses.asdict(dataclasses.replace(study, examples=None))
  del fields['examples']
  return fields
