"""Weights that the manifest names, among them some of stage 1."""

import dataclasses

from safetensors.numpy import load_file, save_file

from tagsdc_jax.comparison import forward, recordings
from tests.comparison import opening

_LATER = ('disc_', 'correction_')


def test_a_recording_of_stage_1(tmp_path):
  weights = load_file(opening.FOLDER / forward.WEIGHTS)
  save_file(
    {
      name: array
      for name, array in weights.items()
      if not name.startswith(_LATER)
    },
    tmp_path / 'own.safetensors',
  )
  whole = opening.recorded(forward.FILE)
  entry = whole.entry(forward.FILE) | {'checkpoint': 'own'}
  arrays = {
    key: array
    for key, array in opening.arrays(forward.FILE).items()
    if not key.startswith(_LATER)
  }
  found = list(
    forward.compare(
      dataclasses.replace(
        whole,
        folder=tmp_path,
        used=set(),
        manifest=whole.manifest | {'files': {forward.FILE: entry}},
        opened={forward.FILE: recordings.Arrays(forward.FILE, arrays)},
      )
    )
  )
  assert found and all(item.holds for item in found)
  names = {item.name for item in found}
  assert {'mlm_logits', 'rank_scores'} <= names
  assert not [name for name in names if name.startswith(_LATER)]


def test_which_weights():
  opened = opening.recorded(forward.FILE)
  assert opened.checkpoint(forward.FILE, 'usual.safetensors') == (
    'usual.safetensors'
  )
