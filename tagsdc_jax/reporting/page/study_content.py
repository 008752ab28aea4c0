"""The content of a study's page: plain data, filled by `studies`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Interval = tuple[float, float, float]  # Mean, low, high; percent.


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
    flop: likewise, as counted; 0: unknown.
    cells: name of a number -> its value.
  """

  label: str
  reference: str
  updates: float
  flop: float
  cells: Mapping[str, Cell]


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
  """

  title: str
  question: str
  notes: str
  num_seeds: int
  rows: Sequence[Row]
  about: Mapping[str, Any]
