"""What is said of things that are missing or not known, and the verdict."""

import json
import shutil

import numpy as np
import pytest

from tagsdc_jax.comparison import comparing, items, recordings
from tests.comparison import opening

_FILES = ('metrics.npz', 'init_output.npz')
_OTHERS = (
  'metrics_maps.json',
  'model_config.json',
  'pretrained_like.safetensors',
  'checkpoint_stage1.safetensors',
  'checkpoint_stage2.safetensors',
)


@pytest.fixture(name='folder')
def _folder(tmp_path):
  """A folder of the files that compare at once."""
  manifest = json.loads((opening.FOLDER / 'MANIFEST.json').read_text())
  manifest['files'] = {name: manifest['files'][name] for name in _FILES}
  manifest['other_files'] = dict.fromkeys(_OTHERS, '')
  for name in (*_FILES, *_OTHERS):
    shutil.copy(opening.FOLDER / name, tmp_path)
  (tmp_path / 'MANIFEST.json').write_text(json.dumps(manifest))
  return tmp_path


def _compare(folder):
  return comparing.compare(recordings.open_folder(folder))


def _manifest(folder, change):
  path = folder / 'MANIFEST.json'
  manifest = json.loads(path.read_text())
  change(manifest)
  path.write_text(json.dumps(manifest))


def _of(found, verdict):
  return [(item.file, item.name) for item in found if item.verdict == verdict]


def test_all_holds(folder):
  (folder / 'README.md').write_text('about them')
  found = _compare(folder)
  assert {item.verdict for item in found} == {items.HOLDS}
  assert {item.file for item in found} == {*_FILES, *_OTHERS} - {
    'metrics_maps.json'
  }
  assert comparing.all_hold(found)


def test_progress_counts_files(folder):
  done = []
  comparing.compare(recordings.open_folder(folder), done.append)
  assert done == [1, 1]


@pytest.mark.parametrize('name', ['metrics.npz', 'metrics_maps.json'])
def test_a_missing_file(name, folder):
  (folder / name).unlink()
  found = _compare(folder)
  assert _of(found, items.MISSING) == [(name, 'the file')]
  assert not comparing.all_hold(found)
  assert any(item.file == 'init_output.npz' and item.holds for item in found)


def test_a_missing_source_of_a_comparison(folder):
  # Listed or not: without it the heads cannot be compared.
  name = 'pretrained_like.safetensors'
  (folder / name).unlink()
  _manifest(folder, lambda m: m['other_files'].pop(name))
  found = _compare(folder)
  assert _of(found, items.MISSING) == [
    ('init_output.npz', 'the rest of the file')
  ]
  assert not comparing.all_hold(found)


def _resave(folder, name, change):
  with np.load(folder / name) as stored:
    arrays = dict(stored)
  change(arrays)
  np.savez(folder / name, **arrays)


def test_a_missing_array(folder):
  _resave(folder, 'metrics.npz', lambda a: a.pop('tied_f16/result'))
  found = _compare(folder)
  assert _of(found, items.MISSING) == [('metrics.npz', 'tied_f16/result')]
  assert not comparing.all_hold(found)


def test_a_missing_input(folder):
  _resave(folder, 'metrics.npz', lambda a: a.pop('tied_f16/gt_image_column'))
  found = _compare(folder)
  assert ('metrics.npz', 'tied_f16/gt_image_column') in _of(
    found, items.MISSING
  )
  assert not comparing.all_hold(found)


def test_a_wrong_shape_fails_without_a_traceback(folder):
  def cut(arrays):
    arrays['tied_f16/scores'] = arrays['tied_f16/scores'][:3]

  _resave(folder, 'metrics.npz', cut)
  failing = _of(_compare(folder), items.FAILS)
  assert ('metrics.npz', 'tied_f16/scores') in failing


def test_what_is_not_known_is_listed_and_fails_nothing(folder):
  _resave(folder, 'init_output.npz', lambda a: a.update(new=np.zeros(2)))
  (folder / 'extra.npz').write_bytes(b'')
  (folder / 'more').mkdir()
  (folder / 'more' / 'notes.txt').write_text('')
  (folder / 'more' / 'words').mkdir()
  (folder / 'more' / 'words' / 'vocab.txt').write_text('')
  (folder / 'aside').mkdir()
  (folder / 'aside' / 'notes.txt').write_text('')
  _manifest(
    folder,
    lambda m: (
      m['files'].update({'later.npz': {'keys': {}}}),
      m['other_files'].update({'more/words': ''}),
    ),
  )
  np.savez(folder / 'later.npz', x=np.zeros(1))
  found = _compare(folder)
  assert _of(found, items.UNKNOWN) == [
    ('init_output.npz', 'new'),
    ('later.npz', 'the file'),
    ('more/words', 'the file'),
    ('aside', 'all of it'),
    ('extra.npz', 'all of it'),
    ('more/notes.txt', 'all of it'),
  ]
  assert comparing.all_hold(found)


def test_damaged_weights_fail(folder):
  (folder / 'pretrained_like.safetensors').write_bytes(b'nothing')
  found = _compare(folder)
  assert ('init_output.npz', 'the rest of the file') in _of(found, items.FAILS)
  assert not comparing.all_hold(found)


def test_nothing_compared_is_no_success(folder):
  _manifest(folder, lambda m: (m['files'].clear(), m['other_files'].clear()))
  found = _compare(folder)
  assert found and not comparing.all_hold(found)


def test_weights_of_other_sizes(folder):
  _manifest(folder, lambda m: m['model'].update(intermediate_size=97))
  found = _compare(folder)
  failing = [item for item in found if item.verdict == items.FAILS]
  assert {item.file for item in failing} == {
    'model_config.json',
    *(n for n in _OTHERS if n.endswith('safetensors')),
  }
  assert all('intermediate' in item.note for item in failing)
