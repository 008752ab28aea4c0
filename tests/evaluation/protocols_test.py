import sys
import types

import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.evaluation import coco_truths, protocols, recall


def _data(num_images, captions_per_image=1):
  number = num_images * captions_per_image
  return types.SimpleNamespace(
    name='toy',
    image_ids=range(num_images),
    captions=[
      types.SimpleNamespace(image=i // captions_per_image, token_ids=[i])
      for i in range(number)
    ],
    captions_of_image=[
      tuple(range(i * captions_per_image, (i + 1) * captions_per_image))
      for i in range(num_images)
    ],
  )


def test_folds_by_hand():
  # Four images, two folds of two. Captions 0 and 1 confuse their images, but
  # caption 3 confuses its own with image 0 of the other fold only.
  scores = np.array(
    [[1, 2, 0, 0], [2, 1, 0, 0], [0, 0, 5, 0], [9, 0, 0, 5]], np.float32
  )
  result = protocols.mean_of_folds(
    recall.Scores(scores), _data(4), protocols.Counting(), 2
  )
  assert result['folds'] == 2
  # Fold 0: 0 %, fold 1: 100 %. The whole split would give caption 3 no hit.
  assert result['image_retrieval'] == {'r1': 50, 'r5': 100, 'r10': 100}
  assert result['text_retrieval'] == {'r1': 50, 'r5': 100, 'r10': 100}
  assert result['rsum'] == 500


def test_folds_with_uneven_captions():
  data = _data(4)
  # Image 0 has captions 1 and 3, image 1 none, image 2 caption 0, 3 caption 2.
  owner = [2, 0, 3, 0]
  data.captions = [
    types.SimpleNamespace(image=image, token_ids=[number])
    for number, image in enumerate(owner)
  ]
  data.captions_of_image = [(1, 3), (), (0,), (2,)]
  scores = np.zeros((4, 4), np.float32)
  scores[[0, 1, 2], [2, 0, 2]] = [3, 2, 4]
  result = protocols.mean_of_folds(
    recall.Scores(scores), data, protocols.Counting(), 2
  )
  # Fold 0: caption 1 finds image 0, caption 3 ties; image 0 finds caption 1.
  # Fold 1: caption 0 finds image 2, caption 2 does not find image 3; image 2
  # finds caption 2 first, and so does image 3: it ties with caption 0.
  assert result['image_retrieval']['r1'] == 50
  assert result['text_retrieval']['r1'] == (100 + 0) / 2


def _coco(monkeypatch, data, order):
  """Gives images COCO's names; the package says this order."""
  data.image_ids = [f'coco_val2014_{i:012}.npz' for i in range(4)]
  known = {700 + i: [i] for i in range(4)}
  lists = types.SimpleNamespace(
    coco_gts={'t2i': known}, coco_ids=[700 + i for i in order]
  )
  monkeypatch.setattr(coco_truths, '_lists', lambda what: lists)


def test_folds_follow_karpathys_order_whatever_the_datas_is(monkeypatch):
  monkeypatch.setattr(protocols, 'FOLD_IMAGES', 2)
  rng = np.random.default_rng(0)
  scores = rng.random((4, 4)).astype(np.float32)
  found = []
  for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
    data = _data(4)
    _coco(monkeypatch, data, [2, 0, 3, 1])
    data.image_ids = [data.image_ids[i] for i in order]
    protocol = protocols.prepare(['coco_1k'], data)['coco_1k']
    found.append(
      protocol(
        recall.Scores(scores[np.ix_(order, order)]), data, protocols.Counting()
      )
    )
  by_hand = protocols.mean_of_folds(
    recall.Scores(scores),
    _data(4),
    protocols.Counting(),
    2,
    np.array([2, 0, 3, 1]),
  )
  assert found[0] == found[1] == by_hand | {'order': 'karpathy'}
  other = protocols.mean_of_folds(
    recall.Scores(scores), _data(4), protocols.Counting(), 2
  )
  assert other['rsum'] != by_hand['rsum']


@pytest.mark.parametrize(
  'change, message',
  [
    (
      lambda data: data.image_ids.__setitem__(0, 'x.npz'),
      "needs COCO's own ids, but toy has image 'x.npz'",
    ),
    (
      lambda data: data.image_ids.__setitem__(0, 'x_000000000009'),
      'has 3 of them among 4',
    ),
  ],
)
def test_folds_of_other_data_follow_it_and_say_so(monkeypatch, change, message):
  monkeypatch.setattr(protocols, 'FOLD_IMAGES', 2)
  data = _data(4)
  _coco(monkeypatch, data, range(4))
  change(data)
  scores = recall.Scores(np.eye(4, dtype=np.float32))
  result = protocols.prepare(['coco_1k'], data)['coco_1k'](
    scores, data, protocols.Counting()
  )
  assert result['order'] == 'data'
  (note,) = result['notes']
  assert note.startswith('the folds follow the order of the images in the data')
  assert message in note
  # One fold has no order.
  monkeypatch.setattr(protocols, 'FOLD_IMAGES', 4)
  assert 'notes' not in protocols.prepare(['coco_1k'], data)['coco_1k'](
    scores, data, protocols.Counting()
  )


def test_without_the_package_folds_follow_the_data(monkeypatch):
  monkeypatch.setattr(protocols, 'FOLD_IMAGES', 2)
  monkeypatch.setitem(sys.modules, 'eccv_caption', None)
  data = _data(4)
  data.image_ids = [f'coco_val2014_{i:012}.npz' for i in range(4)]
  result = protocols.prepare(['coco_1k'], data)['coco_1k'](
    recall.Scores(np.eye(4, dtype=np.float32)), data, protocols.Counting()
  )
  assert result['order'] == 'data'
  assert 'pip install "tagsdc_jax[eccv]"' in result['notes'][0]


def test_a_fold_without_captions_is_told(monkeypatch):
  monkeypatch.setattr(protocols, 'FOLD_IMAGES', 2)
  monkeypatch.setitem(sys.modules, 'eccv_caption', None)
  data = _data(4)
  data.image_ids = ['a', 'b', 'c', 'd']
  data.captions_of_image[2:] = [(), ()]
  with pytest.raises(errors.UserError, match='no image of fold 1 of toy has a'):
    protocols.prepare(['coco_1k'], data)


def test_quirks_of_counting():
  scores = recall.Scores(np.eye(12, dtype=np.float32) * 8)
  counting = protocols.Counting(settings.Quirks(overcounted_recall=True))
  assert counting.recalls(scores, _data(12))['image_retrieval'][
    'r1'
  ] == pytest.approx(100 * 13 / 12)
  rounded = protocols.Counting(settings.Quirks(float16_scores=True)).rounded(
    recall.Scores(np.array([[8.001, 8]], np.float32))
  )
  np.testing.assert_array_equal(rounded.rows([0]), [[8, 8]])


@pytest.mark.parametrize(
  'name, message',
  [
    ('flickr_1k', '1,000 images, but toy has 12'),
    ('coco_5k', '5,000 images, but toy has 12'),
    ('coco_1k', 'folds of 1,000 images, but toy has 12, not a multiple'),
  ],
)
def test_another_split_is_told(name, message):
  with pytest.raises(errors.UserError, match=message):
    protocols.prepare([name], _data(12))


def test_whole_splits_are_counted_as_a_whole():
  data = _data(1000)
  scores = recall.Scores(np.eye(1000, dtype=np.float32))
  prepared = protocols.prepare(['flickr_1k', 'coco_1k'], data)
  for protocol in prepared.values():
    result = protocol(scores, data, protocols.Counting())
    assert result['rsum'] == 600
  assert protocols.prepare(['coco_5k'], _data(5000)).keys() == {'coco_5k'}


# Of 12 captions and images caption i is image i's. All are ranked first, but
# for caption 1: image 0 is better by less than float16 can tell at 8.
_SCORES = np.eye(12, dtype=np.float32) * 8
_SCORES[1, 0] = 8.001
_SCORES[0, 0] = 8.002


def _count(chosen=None, **quirks):
  return protocols.count(
    recall.Scores(_SCORES), _data(12), settings.Quirks(**quirks), chosen or {}
  )


def test_corrected():
  result = _count()
  assert result['image_retrieval']['r1'] == pytest.approx(100 * 11 / 12)
  assert result['text_retrieval']['r1'] == pytest.approx(100)
  assert result['split'] == 'toy' and result['captions'] == 12


def test_float16_scores_tie():
  result = _count(float16_scores=True)
  # Text: captions 0 and 1 tie for image 0, and ties count against the model.
  assert result['image_retrieval']['r1'] == pytest.approx(100 * 11 / 12)
  assert result['text_retrieval']['r1'] == pytest.approx(100 * 11 / 12)


def test_overcounted_recall():
  result = _count(overcounted_recall=True)
  # 11 of 12, and caption 0, among the first 1, once more; all 12 and 5 more.
  assert result['image_retrieval'] == pytest.approx(
    {'r1': 100 * 12 / 12, 'r5': 100 * 17 / 12, 'r10': 100 * 22 / 12}
  )
  assert result['text_retrieval']['r5'] == 100
  assert result['mean_r1'] == pytest.approx(100)


def test_protocols_come_besides_the_whole_split():
  seen = []

  def half(scores, given, counting):
    seen.append((scores.is_rounded, given.name, counting.quirks))
    return {'rsum': 1.0}

  result = _count({'half': half}, float16_scores=True)
  assert seen == [(True, 'toy', settings.Quirks(float16_scores=True))]
  assert result['protocols'] == {'half': {'rsum': 1.0}}
  assert result['images'] == 12 and result['text_retrieval']['r5'] == 100
