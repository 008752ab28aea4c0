"""A user's folder: config, data source and protocol; and a run of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax import main, settings
from tests import tiny

HERE = Path(__file__).parent
_WORDS = [
  'a',
  'red',
  'blue',
  'small',
  'dog',
  'cat',
  'runs',
  'sits',
  'near',
  'the',
  'big',
  'tree',
]


def _write_split(root, split, rng):
  """Writes 12 images with two captions and four regions each."""
  (root / f'{split}.json').write_text(
    json.dumps(
      {
        f'{split} {image}.jpg': [
          ' '.join(rng.choice(_WORDS, rng.integers(3, 9))) for _ in range(2)
        ]
        for image in range(12)
      }
    ),
    'utf-8',
  )
  np.save(
    root / f'{split}_features.npy',
    rng.normal(size=(12, 4, 6)).astype(np.float32),
  )
  corners = np.sort(rng.random((12, 4, 2, 2), np.float32), axis=2)
  corners = corners.reshape(12, 4, 4)
  np.save(
    root / f'{split}_boxes.npy',
    np.concatenate([corners, corners[..., 2:] - corners[..., :2]], axis=2),
  )


@pytest.fixture(scope='session')
def my_data(tmp_path_factory):
  """The folder that `my_captions.py` reads."""
  root = tmp_path_factory.mktemp('my_data')
  rng = np.random.default_rng(0)
  (root / 'vocab.txt').write_text(
    '\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *_WORDS]), 'utf-8'
  )
  for split in ('train', 'validation', 'test'):
    _write_split(root, split, rng)
  return root


@pytest.fixture(scope='session')
def my_config(my_data, tmp_path_factory):
  """A config file with the user's Python files beside it."""
  folder = tmp_path_factory.mktemp('mine')
  for name in ('my_captions.py', 'my_protocol.py'):
    shutil.copy(HERE / name, folder)
  path = folder / 'my_config.py'
  tiny.write_config(
    path,
    tiny.make_settings(
      'tags',
      '',
      num_devices=1,
      data=settings.Data(root=str(my_data), source='my_captions:open_split'),
    ),
  )
  return path


@pytest.fixture(scope='session')
def my_run(my_config, tmp_path_factory):
  """A finished run."""
  path = tmp_path_factory.mktemp('my_run') / 'run'
  assert (
    main.main(['train', '--config', str(my_config), '--run-dir', str(path)])
    == 0
  )
  return path
