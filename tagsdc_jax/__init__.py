"""TAGS-DC in JAX: image-text matching with tailored negative sentences.

The Python API is here, see docs/api.md; JAX is imported when one of its names
is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from tagsdc_jax.api import (
    Checked,
    Edit,
    Matcher,
    Negative,
    UserError,
    Word,
    load,
    metrics,
    train,
  )

__version__ = '0.2.0.dev0'
__all__ = [
  'Checked',
  'Edit',
  'Matcher',
  'Negative',
  'UserError',
  'Word',
  'load',
  'metrics',
  'train',
]


def __getattr__(name: str) -> Any:
  if name in __all__:
    return getattr(importlib.import_module('tagsdc_jax.api'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])
