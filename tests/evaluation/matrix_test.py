import dataclasses
import functools
import time
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.evaluation import matrix, tiles
from tagsdc_jax.models import retrieval
from tagsdc_jax.runtime import parallel
from tests import tiny

_CONFIG = settings.Model(
  num_layers=2,
  hidden_size=16,
  num_heads=2,
  intermediate_size=24,
  max_positions=16,
  vocab_size=30,
  feature_size=6,
)
_MODEL = retrieval.RetrievalModel(_CONFIG)
_EVALUATION = settings.Evaluation(tile_texts=5, tile_images=3, num_buckets=2)


@functools.cache
def _data():
  rng = np.random.default_rng(0)
  # 7 images with 1 to 4 captions of 3 to 9 tokens and 2 to 6 regions.
  num_captions, num_regions = [2, 1, 4, 3, 1, 2, 4], [6, 2, 4, 3, 5, 2, 6]
  captions, of_image = [], []
  for image, number in enumerate(num_captions):
    of_image.append(tuple(range(len(captions), len(captions) + number)))
    for _ in range(number):
      tokens = rng.integers(9, 30, rng.integers(3, 10)).astype(np.int32)
      captions.append(
        dataset.Caption(f'c{len(captions)}', image, tokens, (), '')
      )
  regions = [
    dataset.Regions(
      rng.normal(size=(n, 6)).astype(np.float32),
      rng.random((n, 7)).astype(np.float32),
    )
    for n in num_regions
  ]
  return dataset.RetrievalDataset(
    'toy',
    dataset.Vocabulary(30, 0, 5, 6, 7, 8, (9, 30)),
    captions,
    [f'image {i}' for i in range(7)],
    of_image,
    regions.__getitem__,
    np.array(num_regions, np.int32),
    6,
    np.dtype(np.float32),
  )


@functools.cache
def _params():
  return tiny.large_parameters(_MODEL)


@jax.jit
def _direct(params, token_ids, features, boxes, mask):
  apply = functools.partial(_MODEL.apply, {'params': params})
  x = jnp.concatenate(
    [
      apply(token_ids, method='embed_text'),
      apply(features, boxes, method='embed_image'),
    ],
    axis=1,
  )
  states = apply(x, mask, num_outputs=token_ids.shape[1], method='encode')
  return apply(states, method='match_logits')


@functools.cache
def _all_direct_scores():
  """Every pair at once, text and image padded apart from each other."""
  data = _data()
  texts = assembling.texts(data, range(len(data.captions)), 9)
  images = assembling.images(data, range(7), 6)
  pairs = np.indices((len(data.captions), 7)).reshape(2, -1)
  masks = [
    np.arange(size)[None] < lengths[rows, None]
    for size, lengths, rows in (
      (11, texts.num_tokens, pairs[0]),
      (6, images.num_regions, pairs[1]),
    )
  ]
  return np.asarray(
    _direct(
      _params(),
      texts.token_ids[pairs[0]],
      images.features[pairs[1]],
      images.boxes[pairs[1]],
      np.concatenate(masks, axis=1),
    )
  ).reshape(-1, 7)


@pytest.mark.parametrize('num_devices', [1, 4])
def test_matrix_equals_direct_scores(num_devices):
  devices = parallel.local_devices(num_devices)
  progress = []
  scores = matrix.score_matrix(
    _MODEL,
    parallel.replicate(_params(), devices),
    _data(),
    _EVALUATION,
    devices=devices,
    progress=progress.append,
  )
  assert scores.shape == (17, 7) and scores.dtype == np.float32
  assert np.std(scores) > 0.1
  np.testing.assert_allclose(scores, _all_direct_scores(), atol=1e-5)
  assert sum(progress) == 17 * 7


def test_direct_scores_equal_unpadded_ones():
  data = _data()
  lengths = [len(c.token_ids) for c in data.captions]
  # Shortest with fewest regions, longest with most, and a mixture.
  for text, image in (
    (np.argmin(lengths), 1),
    (np.argmax(lengths), 0),
    (np.argmin(lengths), 6),
  ):
    tokens = np.concatenate([[6], data.captions[text].token_ids, [7]])
    regions = data.read_regions(image)
    mask = np.ones((1, len(tokens) + len(regions.features)), bool)
    score = _direct(
      _params(), tokens[None], regions.features[None], regions.boxes[None], mask
    )
    np.testing.assert_allclose(
      score, _all_direct_scores()[text, image], atol=1e-5
    )


def _repeating():
  """Seven equal captions, some of them padded to another length."""
  captions = list(_data().captions)
  order = sorted(range(17), key=lambda i: len(captions[i].token_ids))
  own = order[:7]  # Groups hold at most five.
  for number in own:
    captions[number] = dataclasses.replace(
      captions[number], token_ids=captions[own[0]].token_ids
    )
  return dataclasses.replace(_data(), captions=captions), own


def test_equal_captions_have_equal_scores():
  devices = parallel.local_devices(1)
  data, own = _repeating()
  plan = tiles.make_plan(
    data, dataclasses.replace(_EVALUATION, num_buckets=4), 1
  )
  groups = [int(np.argwhere(plan.texts == i)[0, 0]) for i in own]
  assert len({int(plan.text_lengths[g]) for g in groups}) > 1
  for _part, block in matrix.score_parts(
    _MODEL,
    parallel.replicate(_params(), devices),
    data,
    plan,
    [0],
    devices=devices,
  ):
    for other in own[1:]:
      np.testing.assert_array_equal(block[:, other], block[:, own[0]])
    assert len(np.unique(block[0])) == 17 - 6


def test_scores_that_are_not_finite_are_told_with_their_pair():
  devices = parallel.local_devices(1)
  regions = _data().read_regions

  def read(image):
    found = regions(image)
    return (
      found
      if image != 4
      else dataclasses.replace(
        found, features=np.full_like(found.features, 1e38)
      )
    )

  with pytest.raises(
    errors.UserError,
    match=r'finite, got nan for caption '
    r'c\d+ and image image \d of toy; the network\'s activations',
  ):
    matrix.score_matrix(
      _MODEL,
      parallel.replicate(_params(), devices),
      dataclasses.replace(_data(), read_regions=read),
      _EVALUATION,
      devices=devices,
    )


@pytest.mark.parametrize('num_devices', [1, 2])
def test_wanted_pairs_only(num_devices):
  devices = parallel.local_devices(num_devices)
  # From one caption to all; image 4 wants nearly every one.
  wanted = [[0], [16, 3], [5], [2, 9, 11], list(range(16)), [7], range(17)]
  counted, expected = [], np.full((17, 7), -np.inf, np.float32)
  for image, captions in enumerate(wanted):
    expected[captions, image] = _all_direct_scores()[captions, image]
  plan = tiles.make_plan(_data(), _EVALUATION, num_devices)
  scores = np.zeros((17, 7), np.float32)
  for part, block in matrix.score_parts(
    _MODEL,
    parallel.replicate(_params(), devices),
    _data(),
    plan,
    range(len(plan.images)),
    devices=devices,
    progress=counted.append,
    wanted=lambda image: np.array(wanted[image]),
  ):
    assert block.shape == (plan.images[part].size, 17)
    scores[:, plan.images[part].reshape(-1)] = block.T
  np.testing.assert_allclose(scores, expected, atol=1e-5)
  repeated = plan.images.size - 7
  shortest = plan.images.reshape(-1)[0]
  assert sum(counted) == (
    sum(len(w) for w in wanted) + repeated * len(wanted[shortest])
  )


def test_processes_divide_the_parts():
  devices = parallel.local_devices(1)
  params = parallel.replicate(_params(), devices)
  plan = tiles.make_plan(_data(), _EVALUATION, 1)
  order = tiles.spread(len(plan.images))
  whole, *shares = (
    dict(
      matrix.score_parts(_MODEL, params, _data(), plan, parts, devices=devices)
    )
    for parts in (order, order[0::2], order[1::2])
  )
  assert len(order) == 4 and [len(s) for s in shares] == [2, 2]
  joined = shares[0] | shares[1]
  assert joined.keys() == whole.keys()
  for part, block in whole.items():
    np.testing.assert_array_equal(joined[part], block)


def test_regions_are_read_one_part_ahead():
  data, read = _data(), []

  def read_regions(image):
    read.append(image)
    return data.read_regions(image)

  devices = parallel.local_devices(1)
  plan = tiles.make_plan(
    data, settings.Evaluation(tile_texts=5, tile_images=1, num_buckets=2), 1
  )
  parts = matrix.score_parts(
    _MODEL,
    parallel.replicate(_params(), devices),
    dataclasses.replace(data, read_regions=read_regions),
    plan,
    range(7),
    devices=devices,
  )
  next(parts)
  time.sleep(0.1)
  # The first part, the one that the devices begin with ahead of time, one
  # more, and one that waits to be taken.
  assert 2 <= len(read) <= 4
  assert len(list(parts)) == 6 and sorted(read) == list(range(7))


def test_a_damaged_image_is_told_by_name():
  def read_regions(image):
    raise errors.UserError(f'image {image} is damaged')

  devices = parallel.local_devices(1)
  with pytest.raises(errors.UserError, match='image . is damaged'):
    matrix.score_matrix(
      _MODEL,
      parallel.replicate(_params(), devices),
      dataclasses.replace(_data(), read_regions=read_regions),
      _EVALUATION,
      devices=devices,
    )


def _peak(num_images, monkeypatch):
  """Host bytes that scoring takes at most, and the bound for them."""
  rng = np.random.default_rng(0)
  data = dataclasses.replace(
    _data(),
    image_ids=[str(i) for i in range(num_images)],
    num_regions=np.full(num_images, 20, np.int32),
    feature_size=500,
    captions=_data().captions * 20,
    read_regions=lambda image: dataset.Regions(
      rng.normal(size=(20, 500)).astype(np.float32),
      np.zeros((20, 7), np.float32),
    ),
  )
  plan = tiles.make_plan(
    data, settings.Evaluation(tile_texts=50, tile_images=20), 1
  )
  # Programs are no part of it.
  monkeypatch.setattr(matrix, '_embed_program', lambda *args: lambda *x: None)
  monkeypatch.setattr(
    matrix,
    '_tile_program',
    lambda *args: lambda *x: jnp.zeros((1, plan.tile_rows)),
  )
  tracemalloc.start()
  try:
    for _ in matrix.score_parts(
      _MODEL,
      None,
      data,
      plan,
      range(len(plan.images)),
      devices=parallel.local_devices(1),
    ):
      pass
    return tracemalloc.get_traced_memory()[1], matrix.host_bytes(plan, data)
  finally:
    tracemalloc.stop()


def test_host_memory_is_bounded_whatever_the_number_of_images(monkeypatch):
  few, bound = _peak(100, monkeypatch)
  many, same_bound = _peak(400, monkeypatch)
  assert bound == same_bound
  # All features of the larger split are 16 MB, the bound is 3.5.
  assert 0.3 * bound < few < bound + 1e6
  assert many < bound + 1e6
