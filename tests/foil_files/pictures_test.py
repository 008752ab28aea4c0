"""Which picture of a data set a name means, and parts of pictures."""

import numpy as np
import pytest

from tagsdc_jax.data import dataset, regions
from tagsdc_jax.foil_files import crops, pictures

VAL2014 = 'COCO_val2014_000000391895.jpg'
UNITER = 'coco_val2014_000000391895.npz'
FLICKR = 'flickr30k_000001000092795.npz'


@pytest.mark.parametrize(
  'image_ids, name, number',
  [
    # COCO: one number under four names; of train2014 and val2014 alike.
    ([VAL2014], VAL2014, 0),
    ([VAL2014], '000000391895.jpg', 0),
    ([VAL2014], 'val2017/000000391895.jpg', 0),
    ([VAL2014], 'coco/val2014/COCO_val2014_000000391895.jpg', 0),
    ([VAL2014], '391895', 0),
    ([VAL2014], '000000391896.jpg', None),
    (['x', 'COCO_train2014_000000000009.jpg'], 'train2017/000000000009.jpg', 1),
    ([UNITER], '000000391895.jpg', 0),
    ([UNITER], VAL2014, 0),
    (['60623', '391895'], '000000391895.jpg', 1),
    # The same number of another collection is another picture.
    ([VAL2014], 'VG_100K/391895.jpg', None),
    ([VAL2014], 'v7w_391895.jpg', None),
    (['60623', '391895'], 'VG_100K/391895.jpg', None),
    ([VAL2014], 'tattooing_391895.jpg', None),
    ([VAL2014], 'VisualDialog_val2018_000000391895.jpg', None),
    ([FLICKR], '000000000139.jpg', None),
    # Visual Genome.
    (['1.jpg', '2376832.jpg'], 'VG_100K_2/2376832.jpg', 1),
    (['1.jpg', '2376832.jpg'], 'v7w_1.jpg', 0),
    (['1.jpg', '2376832.jpg'], 'vg_gqa_images/1.jpg', 0),
    (['1.jpg', '2376832.jpg'], '000000000001.jpg', None),
    # Flickr30K.
    ([FLICKR], '1000092795.jpg', 0),
    ([FLICKR], 'flickr30k-images/1000092795.jpg', 0),
    (['36979.jpg', '1000092795.jpg'], 'flickr30k_images/36979.jpg', 0),
    (['36979.jpg', '1000092795.jpg'], '000000036979.jpg', None),
    # Photos that someone has numbered are no collection's.
    ([f'{i}.jpg' for i in range(300)], '000000000139.jpg', None),
    ([f'{i}.jpg' for i in range(300)], 'VG_100K/139.jpg', None),
    ([f'{i}.jpg' for i in range(300)], 'photos/139.png', 139),
    # Other names: as they are, and without folder and suffix.
    (['a/x.jpg', 'b/y.jpg'], 'y.jpg', 1),
    (['a/x.jpg', 'b/x.jpg'], 'x.jpg', None),
    (['a/x.jpg', 'b/x.jpg'], 'b/x.jpg', 1),
    (['0030feaa83a02c0d'], 'openimages/0030feaa83a02c0d.jpg', 0),
  ],
)
def test_names(image_ids, name, number):
  found = pictures.Index({'test': image_ids}).find([name])
  assert found == (None if number is None else ('test', number))


def test_a_picture_of_several_splits_is_found_far_from_training():
  index = pictures.Index(
    {'train': ['a', 'b', 'c'], 'validation': ['b', 'c'], 'test': ['c']}
  )
  assert [index.find([name]).split for name in 'abc'] == [
    'train',
    'validation',
    'test',
  ]
  assert index.find(['x', 'b']) == ('validation', 0)
  assert index.find([]) is None


def _regions(*boxes):
  corners = np.array(boxes, np.float32)
  six = np.concatenate([corners, corners[:, 2:] - corners[:, :2]], axis=1)
  features = np.arange(len(boxes), dtype=np.float16)[:, None]
  return dataset.Regions(features, regions.make_boxes7(six))


def test_regions_of_a_part_by_hand():
  found = crops.crop(
    _regions(
      [0.2, 0.2, 0.4, 0.6],  # Inside.
      [0.5, 0.5, 0.9, 0.7],  # Three quarters of it.
      [0.0, 0.0, 0.3, 0.3],  # A ninth.
      [0.0, 0.0, 1.0, 1.0],  # All of the picture.
    ),
    (0.2, 0.2, 0.8, 0.8),
  )
  assert found.features[:, 0].tolist() == [0, 1]
  np.testing.assert_allclose(
    found.boxes,
    [
      [0, 0, 1 / 3, 2 / 3, 1 / 3, 2 / 3, 2 / 9],
      [1 / 2, 1 / 2, 1, 5 / 6, 1 / 2, 1 / 3, 1 / 6],
    ],
    atol=1e-6,
  )


def test_at_least_the_best_region_is_kept():
  whole, corner = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.1, 0.1]
  found = crops.crop(_regions(corner, whole), (0.4, 0.4, 0.6, 0.6))
  assert found.features[:, 0].tolist() == [1]
  np.testing.assert_allclose(found.boxes[0, :6], [0, 0, 1, 1, 1, 1])
  # Nothing overlaps: the nearest, as if it filled the part.
  far = [0.8, 0.8, 0.9, 0.9]
  found = crops.crop(_regions(corner, far), (0.4, 0.4, 0.7, 0.7))
  assert found.features[:, 0].tolist() == [1]
  np.testing.assert_allclose(found.boxes[0, :6], [0, 0, 1, 1, 1, 1])


def test_thin_regions():
  line, outside = [0.5, 0.2, 0.5, 0.6], [0.9, 0.2, 0.9, 0.6]
  found = crops.crop(_regions(line, outside), (0.4, 0.0, 0.6, 1.0))
  assert found.features[:, 0].tolist() == [0]
  np.testing.assert_allclose(
    found.boxes[0, :6], [0.5, 0.2, 0.5, 0.6, 0, 0.4], atol=1e-6
  )
