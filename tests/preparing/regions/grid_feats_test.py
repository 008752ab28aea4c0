"""Grid features: means of equal cells, and files of tensors."""

import os
import sys

import numpy as np
import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import grid_feats, opening
from tagsdc_jax.preparing.regions.store import Unreadable
from tests.preparing.regions import making


def test_cells_by_hand():
  # Nine columns in six cells: each cell is one and a half columns.
  cells = np.arange(9, dtype='f4').reshape(1, 1, 9)
  features, boxes = grid_feats.pool(cells)
  expected = [1 / 3, 5 / 3, 10 / 3, 14 / 3, 19 / 3, 23 / 3]
  np.testing.assert_allclose(features[:, 0], expected, rtol=1e-6)
  np.testing.assert_allclose(boxes[1], [1 / 6, 0, 2 / 6, 1, 1 / 6, 1])
  assert features.dtype == boxes.dtype == np.float32


@pytest.mark.parametrize(
  'shape', [(3, 1, 1), (3, 2, 5), (3, 6, 6), (3, 19, 32), (3, 13, 7)]
)
def test_means_and_boxes_of_any_map(shape):
  cells = np.random.default_rng(0).normal(size=shape).astype('f4')
  features, boxes = grid_feats.pool(cells)
  rows, columns = min(shape[1], 6), min(shape[2], 6)
  assert features.shape == (rows * columns, 3)
  # Cells are equally large, so that their mean is that of the map.
  np.testing.assert_allclose(
    features.mean(axis=0), cells.mean(axis=(1, 2)), atol=1e-6
  )
  areas = boxes[:, 4] * boxes[:, 5]
  np.testing.assert_allclose(areas.sum(), 1, rtol=1e-6)
  np.testing.assert_allclose(
    boxes[:, 2:4] - boxes[:, :2], boxes[:, 4:], atol=1e-7
  )
  assert boxes.min() == 0 and boxes[:, :4].max() == 1
  if shape[1] <= 6 and shape[2] <= 6:
    np.testing.assert_allclose(features.T.reshape(shape), cells, rtol=1e-6)


@pytest.fixture(name='torch')
def _torch():
  return pytest.importorskip('torch')


def _read(folder, name='1007'):
  (read,) = opening.open_store(str(folder)).read([name])
  assert isinstance(read, Unreadable)
  assert read.reason.startswith(f'{folder}/{name}.pth: ')
  return read.reason


@pytest.mark.parametrize(
  ('content', 'match'),
  [
    (lambda torch: {'a': torch.zeros(2)}, 'must be one tensor, got dict'),
    (lambda torch: torch.zeros(2, 12, 3, 3), 'must be a tensor of floats [1,'),
    (lambda torch: torch.zeros(12, 3), 'must be a tensor of floats [1, F, H'),
    (
      lambda torch: torch.zeros(1, 12, 3, 3).int(),
      'must be a tensor of floats',
    ),
    (lambda torch: torch.zeros(1, 12, 0, 3), 'must have at least 1 cell'),
    (lambda torch: torch.zeros(1, 9, 2, 2), 'must have 12 numbers per region'),
    (lambda torch: torch.full((1, 12, 2, 2), np.nan), 'must be finite'),
    (lambda torch: [os.getcwd], 'must be one tensor that torch.save wrote'),
  ],
)
def test_files_that_are_wrong(content, match, tmp_path, torch):
  making.write_grid(tmp_path, making.pictures())
  torch.save(content(torch), tmp_path / '1007.pth')
  assert match in _read(tmp_path)


def test_a_cut_file(tmp_path, torch):
  making.write_grid(tmp_path, making.pictures())
  path = tmp_path / '1007.pth'
  path.write_bytes(path.read_bytes()[:-100])
  assert 'must be one tensor that torch.save wrote' in _read(tmp_path)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float64'])
def test_dtypes_and_maps_without_the_first_axis(dtype, tmp_path, torch):
  values = torch.arange(24.0).reshape(2, 3, 4).to(getattr(torch, dtype))
  torch.save(values, tmp_path / 'a.pth')
  (read,) = opening.open_store(str(tmp_path)).read(['a'])
  np.testing.assert_allclose(read.features[:, 0], np.arange(12), rtol=1e-6)
  assert read.features.shape == (12, 2)


def test_without_the_extra(tmp_path, torch, monkeypatch):
  making.write_grid(tmp_path, making.pictures())
  monkeypatch.setitem(sys.modules, 'torch', None)
  with pytest.raises(UserError, match=r'install "tagsdc_jax\[torch\]"$'):
    opening.open_store(str(tmp_path))
