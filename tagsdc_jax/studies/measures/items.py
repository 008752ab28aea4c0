"""What a measure returns: values of test items, each with its picture."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# Number -> part -> [value, picture] of each item; JSON. Numbers whose names
# begin with 'mean ' are in their own unit, the others shares between 0 and 1.
Items = dict[str, dict[str, list[list[float]]]]
# The only part of a number without parts.
ALL = 'all'


def items(
  values: Sequence[Any] | np.ndarray, pictures: Sequence[int] | np.ndarray
) -> list[list[float]]:
  """Returns values with the numbers of their pictures."""
  return [
    [float(value), int(picture)]
    for value, picture in zip(values, pictures, strict=True)
  ]


def join(found: Iterable[tuple[str, Any, int]]) -> Items:
  """Returns numbers without parts.

  Args:
    found: number, value and picture of each item.
  """
  joined: Items = {}
  for number, value, picture in found:
    joined.setdefault(number, {ALL: []})[ALL].append(
      [float(value), int(picture)]
    )
  return joined
