"""What `tagsdc prepare` finds before a run would."""

import shutil
from pathlib import Path

import lmdb
import msgpack_numpy
import numpy as np
import pytest

from tagsdc_jax import main

TOY = Path(__file__).parents[1] / 'golden' / 'recordings' / 'lmdb'


@pytest.fixture(name='root')
def _root(tmp_path):
  """LMDB folders whose numbers of boxes are known without reading them."""
  shutil.copytree(TOY / 'txt_db' / 'itm_toy.db', tmp_path / 'text')
  shutil.copytree(
    TOY / 'img_db' / 'toy' / 'feat_numbb36', tmp_path / 'feat_numbb36'
  )
  return tmp_path


def _prepare(root):
  return main.main(
    [
      'prepare',
      '--config',
      'own_small_tags',
      f'--config.data.root={root}',
      '--config.data.region_confidence=-1',
      *(
        f'--config.data.{split}_{what}={folder}'
        for split in ('train', 'validation', 'test')
        for what, folder in (('text', 'text'), ('images', 'feat_numbb36'))
      ),
    ]
  )


def _spoil_last_image(root):
  with lmdb.open(str(root / 'feat_numbb36'), lock=False) as environment:
    with environment.begin(write=True) as transaction:
      cursor = transaction.cursor()
      cursor.last()
      name, record = cursor.key(), msgpack_numpy.unpackb(cursor.value())
      features = record['features'].copy()
      features[-1, -1] = np.nan
      transaction.put(
        name, msgpack_numpy.packb(record | {'features': features})
      )
  return name.decode()


def test_good_folders(root, capsys):
  assert _prepare(root) == 0
  shown = capsys.readouterr().out.splitlines()
  assert all(line.startswith('text: 12 images') for line in shown[:3])
  # One folder for all three.
  for line, (split, other) in zip(
    shown[3:],
    (('validation', 'train'), ('test', 'train'), ('test', 'validation')),
    strict=True,
  ):
    assert line.startswith(f'{split} (text): 12 of 12 images (the first is ')
    assert (
      f'and 60 of 60 captions, word for word, are also in {other} (tex' in line
    )


def test_every_image_is_read(root, capsys):
  name = _spoil_last_image(root)
  assert _prepare(root) == 2
  shown = capsys.readouterr().err
  assert shown.count('\n') == 1
  assert f'image {name} of {root}' in shown
  assert 'features must be finite, got nan in region 26, column 23' in shown


def test_no_root(capsys, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert main.main(['prepare', '--config', 'own_small_tags']) == 2
  assert 'set --config.data.root=FOLDER' in capsys.readouterr().err
