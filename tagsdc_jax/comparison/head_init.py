"""init_output.npz: the heads that phases and rankings start from."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from flax import traverse_util

from tagsdc_jax.comparison import items
from tagsdc_jax.comparison.recordings import Recordings
from tagsdc_jax.conversion import converting
from tagsdc_jax.released import heads
from tagsdc_jax.training import head_init

FILE = 'init_output.npz'
_START = re.compile(r'(stage[12])_from_(pretrained|stage[12])(_oldstyle)?')
_RANK = re.compile(r'inference_of_(stage[12])')
_PHASES = {'pretrained': 'pretrain', 'stage1': 'tags', 'stage2': 'dc'}
_WEIGHTS = {
  'pretrained': 'pretrained_like.safetensors',
  'stage1': 'checkpoint_stage1.safetensors',
  'stage2': 'checkpoint_stage2.safetensors',
}
_TIED = '.predictions.decoder.weight'


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields one item per scenario, for all recorded heads together."""
  recorded = recordings.arrays(FILE)
  for scenario in recorded.groups():
    start, rank = _START.fullmatch(scenario), _RANK.fullmatch(scenario)
    if start:
      source = start[2]
      ours = heads.start_heads(
        recordings.parameters(_WEIGHTS[source]),
        _PHASES[source],
        _PHASES[start[1]],
      )
    elif rank:
      source = rank[1]
      ours = head_init.reset_rank_head(recordings.parameters(_WEIGHTS[source]))
    else:
      yield items.Item(
        FILE, scenario, items.UNKNOWN, note='unknown scenario, not compared'
      )
      continue
    yield _heads(
      scenario, ours, recorded.under(f'{scenario}/'), f'from {_WEIGHTS[source]}'
    )


def _heads(
  scenario: str, params: Any, recorded: dict[str, np.ndarray], note: str
) -> items.Item:
  """Compares the recorded heads, keyed by name, with ours."""
  table = params['text_embeddings']['word']['embedding']
  found = [
    items.equal(FILE, name, table, array)
    for name, array in recorded.items()
    if name.endswith(_TIED)
  ]
  for name, array in recorded.items():
    if not name.endswith(_TIED):
      ((path, theirs),) = traverse_util.flatten_dict(
        converting.to_parameters({name: array})
      ).items()
      ours = params
      for part in path:
        ours = ours[part]
      found.append(items.equal(FILE, name, ours, theirs))
  worst = items.largest(found, scenario)
  return dataclasses.replace(worst, note=f'{worst.note}; {note}')
