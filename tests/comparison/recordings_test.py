"""Opening recordings: sizes, weights, and what may be wrong with a folder."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tagsdc_jax import errors, settings
from tagsdc_jax.comparison import recordings
from tests.comparison import opening

_MODEL = {
  'vocab_size': 50,
  'hidden_size': 8,
  'num_hidden_layers': 2,
  'num_attention_heads': 2,
  'intermediate_size': 12,
  'max_position_embeddings': 20,
  'type_vocab_size': 2,
  'img_dim': 6,
}
_IDS = {'PAD': 0, 'UNK': 1, 'CLS': 2, 'SEP': 3, 'MASK': 4, 'v_range': [5, 50]}


def _write(folder, arrays=None, **changes):
  np.savez(folder / 'some.npz', **(arrays or {'a/x': np.arange(3)}))
  manifest = {
    'files': {'some.npz': {'keys': {'a/x': {'shape': [3], 'dtype': 'int64'}}}},
    'model': _MODEL,
    'special_ids': _IDS,
  } | changes
  (folder / 'MANIFEST.json').write_text(json.dumps(manifest))
  return folder


def test_sizes_and_ids_come_from_the_manifest(tmp_path):
  opened = recordings.open_folder(_write(tmp_path))
  assert opened.model() == settings.Model(
    num_layers=2,
    hidden_size=8,
    num_heads=2,
    intermediate_size=12,
    max_positions=20,
    num_token_types=2,
    vocab_size=50,
    feature_size=6,
    dropout_rate=0.0,
  )
  words = opened.vocabulary()
  assert (words.cls, words.sep, words.mask, words.size) == (2, 3, 4, 50)
  assert words.random_range == (5, 50)


def test_tolerance_is_the_manifests_where_it_is_more(tmp_path):
  opened = recordings.open_folder(
    _write(
      tmp_path, tolerances={'a': '2e-5; more in b', 'b': '1e-7', 'c': 'exact'}
    )
  )
  assert [opened.tolerance(name, 1e-5) for name in 'abcd'] == [
    2e-5,
    1e-5,
    1e-5,
    1e-5,
  ]


def test_a_note_that_is_missing(tmp_path):
  opened = recordings.open_folder(_write(tmp_path))
  with pytest.raises(recordings.Missing, match='no a / b for some.npz'):
    opened.note('some.npz', 'a', 'b')


def _cut(folder):
  path = folder / 'some.npz'
  path.write_bytes(path.read_bytes()[:100])


def _pickled(folder):
  np.savez(folder / 'some.npz', x=np.array([{}], dtype=object))


@pytest.mark.parametrize(
  'damage, message',
  [
    (lambda f: (f / 'MANIFEST.json').unlink(), 'contains no MANIFEST.json'),
    (lambda f: (f / 'MANIFEST.json').write_text('{'), 'must be JSON'),
    (
      lambda f: (f / 'MANIFEST.json').write_text('[]'),
      "must contain a dictionary 'files'",
    ),
    (lambda f: _write(f, model={}), 'num_hidden_layers is missing'),
    (lambda f: _write(f, special_ids=_IDS | {'v_range': 3}), 'v_range'),
    (
      lambda f: _write(f, model=_MODEL | {'img_dim': 'x'}),
      'must contain integers',
    ),
    (lambda f: _write(f, files={'some.npz': []}), 'entry of some.npz'),
    (_cut, 'some.npz cannot be read as arrays'),
    (_pickled, 'some.npz cannot be read as arrays'),
  ],
)
def test_a_damaged_folder_is_one_line(damage, message, tmp_path):
  damage(_write(tmp_path))
  with pytest.raises(errors.UserError, match=message):
    recordings.open_folder(tmp_path)


def test_no_folder():
  with pytest.raises(errors.UserError, match='it does not exist'):
    recordings.open_folder(opening.FOLDER / 'nowhere')


def test_tied_copies(tmp_path):
  weights = load_file(opening.FOLDER / 'checkpoint_stage2.safetensors')
  copies = [name for name in weights if name.endswith('decoder.weight')]
  assert len(copies) == 2
  found = recordings.without_copies(weights, 'f')
  assert weights.keys() - found.keys() == set(copies)
  spoilt = weights | {copies[1]: weights[copies[1]] + 1}
  with pytest.raises(errors.UserError, match=f'{copies[1]} must equal'):
    recordings.without_copies(spoilt, 'f')
  folder = _write(tmp_path)
  save_file(spoilt, folder / 'w.safetensors')
  opened = recordings.open_folder(folder)
  with pytest.raises(errors.UserError, match='w.safetensors'):
    opened.weights('w.safetensors')
  for content, message in (
    (b'not\x00hing', 'cannot be read as safetensors'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer'),
  ):
    (folder / 'w.safetensors').write_bytes(content)
    with pytest.raises(errors.UserError, match=message):
      opened.weights('w.safetensors')


@pytest.mark.parametrize(
  'recorded, ours', [(2.0, 2.0), (-1, None), (-1.0, None)]
)
def test_the_release_says_minus_one_for_no_clipping(recorded, ours):
  assert recordings.clip_norm({'grad_norm': recorded}) == ours
