"""Checks that a file contains a complete network of the release."""

import collections
import dataclasses
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from tagsdc_jax import arrays, errors
from tagsdc_jax.conversion import name_rules, reading

LAYOUTS = {
  'pretrain': 'pretrained UNITER',
  'tags': 'stage 1 (TAGS)',
  'dc': 'stage 2 (DC)',
}


@dataclasses.dataclass(frozen=True)
class Contents:
  """The contents of a file of weights."""

  phase: str  # One of settings.PHASES.
  sizes: dict[str, int]  # Those of settings.Model that follow from shapes.
  dropped: tuple[str, ...]  # Known names that are not used here.


def unwrapped(
  weights: Mapping[str, np.ndarray], path: Path
) -> tuple[dict[str, np.ndarray], str]:
  """Returns the arrays without wrappers' prefixes, and the common prefix.

  Raises:
    UserError: if only some of the names have a wrapper's prefix.
  """
  result, taken = dict(weights), ''
  while found := [
    word
    for word in name_rules.WRAPPERS
    if any(name.startswith(word) for name in result)
  ]:
    others = [name for name in result if not name.startswith(found[0])]
    if others:
      raise errors.UserError(
        f'{path}: only {len(result) - len(others)} of {len(result)} names '
        f'begin with {taken}{found[0]} (the first of the others: {taken}'
        f'{others[0]}), so they may belong to several networks; pass the '
        'state_dict of one network'
      )
    result = {
      name.removeprefix(found[0]): array for name, array in result.items()
    }
    taken += found[0]
  return result, taken


def check_finite(
  weights: Mapping[str, np.ndarray], path: Path, is_rounded: bool = False
) -> None:
  """Raises UserError if an array contains NaN or infinite numbers.

  Args:
    weights: {name: array}.
    path: of the file, for messages.
    is_rounded: whether they were rounded to float32 and finite before.
  """
  problem = arrays.not_finite(weights)
  if problem:
    raise errors.UserError(
      f'{path} must contain '
      + (
        'numbers in the range of float32, up to 3.4e38: rounded to it, '
        if is_rounded
        else 'finite numbers only: '
      )
      + f'{problem}. Nothing was converted; pass weights from before they '
      'diverged, or download them again'
    )


def with_modern_names(
  weights: Mapping[str, np.ndarray], path: Path
) -> dict[str, np.ndarray]:
  """Returns the arrays under their current names.

  Raises:
    UserError: if a file has both the old and the new name of a parameter.
  """
  result: dict[str, np.ndarray] = {}
  for name, array in weights.items():
    modern = name_rules.modern(name)
    if modern != name and modern in weights:
      raise errors.UserError(
        f'{path} contains both {name} and {modern}, the old '
        'and the new name of the same parameter; remove '
        'one of them'
      )
    result[modern] = array
  return result


def check(weights: Mapping[str, np.ndarray], path: Path) -> Contents:
  """Returns the phase, sizes and unused names of a file.

  Each size is the one that most parameters agree on; parameters that deviate
  are reported as wrongly shaped.

  Args:
    weights: {current name: array}.
    path: of the file, for messages.
  Raises:
    UserError: listing all names that are missing, unknown, of the wrong shape
      or not floating point.
  """
  phase = name_rules.recognize(weights)
  dropped = tuple(
    sorted(
      name
      for name in weights
      if phase == 'pretrain' and name.startswith(name_rules.DROPPED)
    )
  )
  num_layers = name_rules.count_layers(weights)
  expected = {
    name: parameter.shape
    for name, parameter in name_rules.parameters(phase, num_layers).items()
  }
  expected |= dict.fromkeys(name_rules.tied(phase), expected[name_rules.WORDS])
  if not expected.keys() & weights.keys():
    shown = ', '.join(list(weights)[:3]) or 'nothing'
    raise errors.UserError(
      f'{path} must contain the parameters of UNITER or TAGS-DC, got {shown} '
      '...; pass a state_dict of the PyTorch release, or, to start from BERT, '
      '--start'
    )
  sizes = sizes_of(weights, expected) | {'num_layers': num_layers}
  if problems := mismatches(weights, expected, dropped, sizes):
    raise errors.UserError(
      f'{path} looks like {LAYOUTS[phase]} by its names, but does not '
      f'match: {"; ".join(problems)}. Nothing was converted; pass a '
      'state_dict as saved by the release'
    )
  return Contents(phase, sizes, dropped)


def mismatches(
  weights: Mapping[str, np.ndarray],
  expected: Mapping[str, name_rules.Shape],
  dropped: Collection[str],
  sizes: Mapping[str, int],
) -> list[str]:
  """Returns what is wrong with the names, shapes and dtypes of a file.

  Args:
    weights: {current name: array}.
    expected: {current name: shape}, all that the file must contain.
    dropped: further names that it may contain.
    sizes: of the network, see `sizes_of`; unknown ones may be missing.
  """
  here = [name for name in expected if name in weights]
  return (
    listed('missing', (name for name in expected if name not in weights))
    + listed(
      'unknown',
      (
        name for name in weights if name not in expected and name not in dropped
      ),
    )
    + listed('of the wrong shape', _misshaped(weights, expected, sizes))
    + listed('empty', (name for name in here if not np.size(weights[name])))
    + listed(
      'not floating point',
      (
        f'{name} is {weights[name].dtype}'
        for name in here
        if weights[name].dtype.name not in reading.FLOATS
      ),
    )
  )


def listed(what: str, names: Iterable[str]) -> list[str]:
  """Returns a list with one text that lists the names; [] if there are none.

  Args:
    what: what is wrong with them.
    names: names; all of them are listed.
  """
  names = list(names)
  return [f'{len(names)} {what} ({", ".join(names)})'] if names else []


def sizes_of(
  weights: Mapping[str, np.ndarray], expected: Mapping[str, name_rules.Shape]
) -> dict[str, int]:
  """Returns each named size in the shapes, as most of the arrays have it."""
  votes: dict[str, collections.Counter] = {}
  for name, shape in expected.items():
    actual = np.shape(weights[name]) if name in weights else ()
    if len(actual) == len(shape):
      for size, number in zip(shape, actual):
        if isinstance(size, str):
          votes.setdefault(size, collections.Counter())[number] += 1
  return {size: counter.most_common(1)[0][0] for size, counter in votes.items()}


def _misshaped(
  weights: Mapping[str, np.ndarray],
  expected: Mapping[str, name_rules.Shape],
  sizes: Mapping[str, int],
) -> list[str]:
  result = []
  for name, shape in expected.items():
    # Sizes are unknown if their parameters are missing or of another rank.
    wanted = [
      sizes.get(size, '?') if isinstance(size, str) else size for size in shape
    ]
    if name in weights and list(np.shape(weights[name])) != wanted:
      result.append(
        f'{name} is {list(np.shape(weights[name]))}, expected {wanted}'.replace(
          "'", ''
        )
      )
  return result
