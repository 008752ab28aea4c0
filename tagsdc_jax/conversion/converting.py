"""Converts between the release's weights and our parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from tagsdc_jax import errors
from tagsdc_jax.conversion import checking, name_rules

_INNER, _LAST = 'encoder/layers/', 'encoder/last_layer/'


def to_parameters(weights: Mapping[str, np.ndarray]) -> Any:
  """Returns our parameter tree for the given weights, complete or not.

  Only the order and axes change; arrays may share memory with the inputs.

  Args:
    weights: {the release's name: array}, without copies of tied weights.
  Raises:
    KeyError: if the release has no such parameter.
  """
  tree: dict[str, np.ndarray] = {}
  layers = {name: name_rules.layer_of(name)[0] for name in weights}
  last = max(layers.values(), default=-1)
  inner: dict[str, list[np.ndarray]] = {}
  # By number: sorted by name, layer 10 would come before layer 2.
  for name in sorted(weights, key=layers.__getitem__):
    parameter, array = name_rules.place(name), weights[name]
    array = array.T if parameter.is_transposed else array
    if layers[name] < 0:
      tree[parameter.path] = array
    elif layers[name] == last:
      tree[_LAST + parameter.path] = array
    else:
      inner.setdefault(_INNER + parameter.path, []).append(array)
  tree |= {path: np.stack(arrays) for path, arrays in inner.items()}
  return traverse_util.unflatten_dict(tree, sep='/')


def from_parameters(tree: Any, phase: str) -> dict[str, np.ndarray]:
  """Returns all weights that the release's class of a phase loads.

  Args:
    tree: our parameters; heads of later phases are omitted.
    phase: one of settings.PHASES.
  Returns:
    {the release's name: contiguous array}, including tied copies, which are
    the same array object.
  Raises:
    UserError: if parameters are missing, or if there are some that the release
      does not have.
  """
  flat = traverse_util.flatten_dict(tree, sep='/')
  depths = {
    len(array) for path, array in flat.items() if path.startswith(_INNER)
  }
  num_layers = max(depths, default=0) + 1
  weights, used = {}, set()
  missing = []
  for name, parameter in name_rules.parameters(phase, num_layers).items():
    layer = name_rules.layer_of(name)[0]
    is_inner = 0 <= layer < num_layers - 1
    path = '' if layer < 0 else _INNER if is_inner else _LAST
    path += parameter.path
    used.add(path)
    if path not in flat or is_inner and len(flat[path]) <= layer:
      missing.append(path)
      continue
    array = flat[path][layer] if is_inner else flat[path]
    weights[name] = np.ascontiguousarray(
      array.T if parameter.is_transposed else array
    )
  unknown = (
    path
    for path in flat.keys() - used
    if path.split('/')[0] not in name_rules.heads_after(phase)
  )
  problems = checking.listed(
    'missing', dict.fromkeys(missing)
  ) + checking.listed('unknown', sorted(unknown))
  if problems:
    raise errors.UserError(
      f'the parameters are not those of {checking.LAYOUTS[phase]}: '
      f'{"; ".join(problems)}; pass a checkpoint written by this version of '
      'tagsdc'
    )
  return weights | dict.fromkeys(
    name_rules.tied(phase), weights[name_rules.WORDS]
  )


def to_float32(weights: dict[str, np.ndarray]) -> dict[str, int]:
  """Converts all arrays to float32 in place; returns {old dtype: count}.

  Exact for float16 and bfloat16; float64 is rounded, to infinity if it is out
  of float32's range.
  """
  counts: dict[str, int] = {}
  for name, array in weights.items():
    if array.dtype != np.float32:
      counts[array.dtype.name] = counts.get(array.dtype.name, 0) + 1
      with np.errstate(over='ignore'):
        weights[name] = array.astype(np.float32)
  return counts
