"""The release's weights <-> our parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tagsdc_jax.conversion import name_rules


def to_parameters(weights: Mapping[str, np.ndarray]) -> Any:
  """Returns our parameter tree, of whatever parameters are there.

  Args:
    weights: {the release's name: array}, without copies of tied weights.
  Raises:
    KeyError: if the release has no such parameter.
  """
  tree: dict[str, Any] = {}
  # By number: by name, layer 10 would come before layer 2.
  layers = {name: name_rules.layer_number(name) for name in weights}
  last = max(layers.values(), default=-1)
  inner: dict[str, list[np.ndarray]] = {}
  for name in sorted(weights, key=layers.__getitem__):
    path, array = name_rules.place(name, weights[name])
    if layers[name] < 0:
      _put(tree, path, array)
    elif layers[name] == last:
      _put(tree, f'encoder/last_layer/{path}', array)
    else:
      inner.setdefault(path, []).append(array)
  for path, arrays in inner.items():
    _put(tree, f'encoder/layers/{path}', np.stack(arrays))
  return tree


def _put(tree: dict[str, Any], path: str, array: np.ndarray) -> None:
  *parents, last = path.split('/')
  for name in parents:
    tree = tree.setdefault(name, {})
  tree[last] = array
