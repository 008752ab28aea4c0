"""Weights that come with the package, each in a folder next to this file.

A folder contains an Orbax checkpoint without optimizer state (`parameters`,
`about`), the metrics of the two runs that produced it, one after the other
(FIRST_METRICS, `metrics.jsonl`), and `recipe.json`: the commands, the machine,
and the hash of the parameters.
"""

import json
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, paths

PREFIX = 'shipped:'
RECIPE = 'recipe.json'
FIRST_METRICS = 'metrics_of_relations.jsonl'
_ROOT = Path(__file__).parent


def find(init_from: str) -> Path:
  """Returns the path that `init_from` refers to.

  Args:
    init_from: `shipped:NAME`, or a local path.
  Raises:
    UserError: if no weights of that name are shipped, or the path is not local.
  """
  if not init_from.startswith(PREFIX):
    return paths.local(init_from)
  path = _ROOT / init_from.removeprefix(PREFIX)
  if path.parent != _ROOT or not (path / RECIPE).is_file():
    raise errors.UserError(
      f'{init_from}: no such weights come with the package; '
      f'available: {", ".join(PREFIX + name for name in names())}'
    )
  return path


def names() -> list[str]:
  """Returns the names of the shipped weights."""
  return sorted(p.parent.name for p in _ROOT.glob(f'*/{RECIPE}'))


def recipe(name: str) -> dict[str, Any]:
  """Returns how the weights were produced.

  Its keys: `commands`, `machine`, `seconds` of both runs, `updates`,
  `updates_before`, `parameters_sha256`, `evaluation`, `measures`.
  """
  text = (_ROOT / name / RECIPE).read_text(encoding='utf-8')
  return json.loads(text)
