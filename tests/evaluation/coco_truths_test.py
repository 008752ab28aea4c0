"""Crisscrossed Captions and ECCV Caption, by hand and as the package counts."""

import sys
import types

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.evaluation import coco_truths, protocols, recall

_COCO = {
  't2i': {700: [1], 701: [1], 702: [2], 703: [3]},
  'i2t': {1: [700, 701], 2: [702], 3: [703]},
}


def _data(
  captions=(('703', 0), ('700', 1), ('999', 1), ('701', 1), ('702', 2)),
  images=(3, 1, 2),
):
  return types.SimpleNamespace(
    name='toy',
    image_ids=[f'coco_val2014_{i:012}.npz' for i in images],
    captions=[
      types.SimpleNamespace(
        caption_id=name, image=image, token_ids=tokens or [int(name, 36)]
      )
      for name, image, *tokens in captions
    ],
  )


def test_ids_become_numbers():
  truths = coco_truths.select(
    _COCO,
    {'t2i': {703: [3, 1], 700: [1]}, 'i2t': {2: [702, 888, 999]}},
    'eccv',
    _data(),
  )
  assert truths.captions.numbers.tolist() == [0, 1]
  assert [p.tolist() for p in truths.captions.positives] == [[0, 1], [1]]
  # The split lacks caption 888: it counts, and is never found.
  assert truths.images.numbers.tolist() == [2]
  assert [p.tolist() for p in truths.images.positives] == [[2, 4]]
  assert truths.images.num_relevant.tolist() == [3]


@pytest.mark.parametrize(
  'data, message',
  [
    (
      types.SimpleNamespace(name='toy', image_ids=['x.npz'], captions=[]),
      "needs COCO's own ids, but toy has image 'x.npz'",
    ),
    (_data([('c1', 0)]), "has caption 'c1', expected a number"),
    (
      _data([('700', 0)]),
      "caption 700 of image 'coco_val2014_000000000003"
      ".npz', expected caption of image 1",
    ),
    (
      _data([('703', 0)], (3, 1, 5)),
      'needs the 3 images of COCO.* has 2 of them among 3',
    ),
    (
      _data(images=(3, 1, 2, 1)),
      'has image .*000000000001.npz. and '
      '.*000000000001.npz., expected each number once',
    ),
    (
      _data([('700', 1), ('999', 1)]),
      'needs the 4 captions .* has 1 of them among 2',
    ),
  ],
)
def test_another_split_is_told(data, message):
  with pytest.raises(errors.UserError, match=message):
    coco_truths.select(_COCO, _COCO, 'cxc', data)


def test_recalls_by_hand():
  # Captions 0 and 1 as queries, both images right for the first.
  truths = coco_truths.Truths(
    coco_truths.Queries(
      np.array([0, 2]), [np.array([0, 1]), np.array([2])], np.array([2, 1])
    ),
    coco_truths.Queries(np.array([1]), [np.array([0, 2])], np.array([2])),
  )
  scores = recall.Scores(
    np.array([[1, 9, 5], [0, 8, 0], [3, 7, 3]], np.float32)
  )
  result = coco_truths.recalls(scores, truths)
  # Caption 0 finds image 1; caption 2's image 2 ties with image 0. Image 1
  # finds caption 0.
  assert result['image_retrieval'] == {'r1': 50, 'r5': 100, 'r10': 100}
  assert result['text_retrieval']['r1'] == 100
  assert result['queries'] == {'image_retrieval': 2, 'text_retrieval': 1}
  # Caption 0: image 1 first, image 0 third. Image 1: 9, 8 (wrong), 7.
  result = coco_truths.precisions(scores, truths)
  assert result['image_retrieval'] == pytest.approx(
    {'map_at_r': 100 * ((1 / 2) + 0) / 2, 'r_precision': 25, 'r1': 50}
  )
  assert result['text_retrieval'] == pytest.approx(
    {'map_at_r': 50, 'r_precision': 50, 'r1': 100}
  )


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, 'eccv_caption', None)
  with pytest.raises(
    errors.UserError, match=r'eccv-caption.*pip install "tagsdc_jax\[eccv\]"'
  ):
    protocols.prepare(['cxc'], _data())


def test_images_that_no_list_knows_are_no_candidates():
  data = _data(images=(3, 1, 2, 5))
  truths = coco_truths.select(_COCO, _COCO, 'cxc', data)
  assert truths.unknown_images.tolist() == [3]
  assert truths.unknown_captions.tolist() == [2]
  scores = np.zeros((5, 4), np.float32)
  scores[range(5), [0, 1, 1, 1, 2]] = 1
  scores[:, 3] = 9
  result = coco_truths.recalls(recall.Scores(scores), truths)
  assert result['image_retrieval']['r1'] == 100
  assert result['left_out'] == {'captions': 1, 'images': 1}
  assert result['notes'] == [
    '1 captions and 1 images that the lists do not contain were left out'
  ]


def test_karpathys_order_is_the_packages():
  package = pytest.importorskip('eccv_caption')
  metrics = package.Metrics()
  assert metrics.coco_ids[:5].tolist() == [
    770337,
    771687,
    772707,
    776154,
    781998,
  ]
  ids = sorted(metrics.coco_gts['i2t'])  # As by name.
  data = _data((), ids)
  order = coco_truths.karpathy_order(data)
  assert [ids[i] for i in order[:3]] == [391895, 60623, 483108]
  assert sorted(order.tolist()) == list(range(5000))
  # Five captions of each, fold by fold.
  owners = [metrics.coco_gts['t2i'][c][0] for c in metrics.coco_ids.tolist()]
  assert [ids[i] for i in order] == owners[::5]


@pytest.fixture(scope='module', name='theirs')
def _theirs():
  """The package on 60 of its images, with random further truths."""
  package = pytest.importorskip('eccv_caption')
  metrics = package.Metrics()
  rng = np.random.default_rng(0)
  assert len(metrics.coco_gts['i2t']) == 5000
  assert len(metrics.cxc_gts['t2i']) == 24972
  assert {len(metrics.eccv_gts[way]) for way in ('t2i', 'i2t')} == {1332, 1261}
  images = [
    metrics.coco_gts['t2i'][c][0] for c in metrics.coco_ids[:300:5].tolist()
  ]
  metrics.coco_ids = metrics.coco_ids[:300]
  captions = metrics.coco_ids.tolist()
  metrics.coco_gts = {
    't2i': {c: metrics.coco_gts['t2i'][c] for c in captions},
    'i2t': {i: metrics.coco_gts['i2t'][i] for i in images},
  }

  def random_truths():
    right = {
      i: set(own) | set(rng.choice(captions, 6).tolist())
      for i, own in metrics.coco_gts['i2t'].items()
    }
    back = {c: [i for i in images if c in right[i]] for c in captions}
    return {
      'i2t': {i: sorted(right[i]) for i in images[:50]},
      't2i': {c: back[c] for c in captions[::2]},
    }

  metrics.cxc_gts, metrics.eccv_gts = random_truths(), random_truths()
  # One right caption that the split does not have.
  metrics.eccv_gts['i2t'][images[0]].append(123456789)
  return metrics, images, captions


def test_as_the_package_counts(theirs):
  metrics, images, captions = theirs
  rng = np.random.default_rng(1)
  number_of = {image: number for number, image in enumerate(images)}
  owner = np.array([number_of[metrics.coco_gts['t2i'][c][0]] for c in captions])
  scores = rng.normal(size=(300, 60)).astype(np.float32)
  scores[np.arange(300), owner] += 2
  data = _data(list(zip(map(str, captions), owner.tolist())), images)
  data.captions_of_image = [
    np.flatnonzero(owner == i).tolist() for i in range(60)
  ]
  found = metrics.compute_all_metrics(
    {
      image: [captions[c] for c in np.argsort(-scores[:, i])]
      for i, image in enumerate(images)
    },
    {
      caption: [images[i] for i in np.argsort(-scores[c])]
      for c, caption in enumerate(captions)
    },
    target_metrics=(
      'coco_1k_recalls',
      'coco_5k_recalls',
      'cxc_recalls',
      'eccv_map_at_r',
      'eccv_rprecision',
      'eccv_r1',
    ),
    Ks=(1, 5, 10),
    verbose=False,
  )
  ours, counted = recall.Scores(scores), protocols.Counting()
  truths = {
    name: coco_truths.select(metrics.coco_gts, lists, name, data)
    for name, lists in (('cxc', metrics.cxc_gts), ('eccv', metrics.eccv_gts))
  }
  for name, result in (
    ('coco_1k', protocols.mean_of_folds(ours, data, counted, 12)),
    ('coco_5k', counted.recalls(ours, data)),
    ('cxc', coco_truths.recalls(ours, truths['cxc'])),
  ):
    for k in (1, 5, 10):
      assert 1 < result['text_retrieval'][f'r{k}'] <= 100
      for way, theirs_way in (('text', 'i2t'), ('image', 't2i')):
        assert result[f'{way}_retrieval'][f'r{k}'] == pytest.approx(
          100 * found[f'{name}_r{k}'][theirs_way]
        )
  result = coco_truths.precisions(ours, truths['eccv'])
  for way, theirs_way in (('text', 'i2t'), ('image', 't2i')):
    for ours_key, key in (
      ('map_at_r', 'eccv_map_at_r'),
      ('r1', 'eccv_r1'),
      ('r_precision', 'eccv_rprecision'),
    ):
      assert result[f'{way}_retrieval'][ours_key] == pytest.approx(
        100 * found[key][theirs_way]
      )
