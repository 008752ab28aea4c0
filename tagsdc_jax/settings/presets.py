"""Presets: named combinations of settings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tagsdc_jax.settings.groups import Quirks

if TYPE_CHECKING:
  import ml_collections

_QUIRKS = tuple(field.name for field in dataclasses.fields(Quirks))
# Quirks that need `plain_step`.
IN_PLAIN_STEP = _QUIRKS[: _QUIRKS.index('reset_rank_head')]
# Where the release crashes (its stage 2 compares candidates of one shape with
# captions of another), `as_released` compares with the caption, as in the
# release's stage 1.
PRESETS: dict[str, dict[str, Any]] = {
  'corrected': {f'quirks.{name}': False for name in _QUIRKS}
  | {'negatives.exclude': 'image'},
  'as_released': {f'quirks.{name}': True for name in _QUIRKS}
  | {
    'negatives.exclude': 'caption',
    # The release computes in float32; its half precision is not reproduced.
    'compute.matmul_precision': 'highest',
  },
}


def apply_preset(config: ml_collections.ConfigDict, name: str) -> None:
  """Applies a preset to a config, in place.

  The release's step takes one positive per micro-batch; the number of positives
  per update does not change.

  Args:
    config: from `default_config`.
    name: a key of PRESETS.
  Raises:
    ValueError: if there is no such preset.
  """
  if name not in PRESETS:
    raise ValueError(
      f'preset must be one of {", ".join(PRESETS)}, got {name!r}'
    )
  config.preset = name
  config.update_from_flattened_dict(PRESETS[name])
  if config.quirks.plain_step and config.phase != 'pretrain':
    config.batch.micro_batches *= config.batch.positives
    config.batch.positives = 1
